"""Files that are read as a pair, and every way they are not one."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from flatrun_certificates.pem import PemProblem, read_pair


def read(files: dict[str, bytes]) -> Any:
    return read_pair(files["cert"], files["fullchain"], files["privkey"], files["chain"])


def test_the_names_are_those_of_the_extension_whatever_the_subject_says(maker: Any) -> None:
    found = read(maker.files(["a.example.com", "*.b.example.com"], cn="other.example.com"))
    assert found.domains == ("a.example.com", "*.b.example.com")
    assert (found.issuer, found.ocsp) == ("Test Root", False)
    assert len(found.fingerprint) == 64


def test_a_responder_is_seen(maker: Any) -> None:
    assert read(maker.files(["a.example.com"], ocsp=True)).ocsp is True


def test_a_certificate_without_names_is_of_no_use(maker: Any) -> None:
    with pytest.raises(PemProblem, match="names no domains"):
        read(maker.files([], cn="a.example.com"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f, m: {"privkey": m.other_key()}, "the key is not the certificate's"),
        (lambda f, m: {"cert": m.files(["b.example.com"])["cert"]}, "begins with another certificate"),
        (lambda f, m: {"fullchain": f["cert"]}, "the chain is not complete"),
        (lambda f, m: {"fullchain": f["cert"] + f["cert"], "chain": f["cert"]}, "is not the certificate's"),
        (lambda f, m: {"cert": f["fullchain"]}, "more than one"),
        (lambda f, m: {"cert": b""}, "the certificate is empty"),
        (lambda f, m: {"privkey": b""}, "the key is empty"),
        (lambda f, m: {"fullchain": f["privkey"]}, "the chain is damaged"),
        (lambda f, m: {"cert": f["cert"].replace(b"M", b"A", 3)}, "cannot be read"),
    ],
)
def test_what_does_not_belong_together_is_no_pair(
    maker: Any, change: Callable[..., Any], reason: str
) -> None:
    files = maker.files(["a.example.com"])
    with pytest.raises(PemProblem, match=reason):
        read(files | change(files, maker))


def test_text_between_certificates_is_no_damage(maker: Any) -> None:
    files = maker.files(["a.example.com"])
    files["fullchain"] = files["cert"] + b"subject=Test Root\n" + files["chain"]
    assert read(files).domains == ("a.example.com",)


@given(data=st.data())
def test_a_file_cut_at_any_byte_is_either_refused_or_still_whole(made_files: Any, data: Any) -> None:
    files = made_files()
    kind = data.draw(st.sampled_from(sorted(files)))
    at = data.draw(st.integers(0, len(files[kind]) - 1))
    cut = files | {kind: files[kind][:at]}
    lost = files[kind][at:]
    if lost == b"\n" or (kind == "chain" and at == 0):
        # Only the line's end is missing, or nobody kept the issuers apart.
        assert read(cut) == read(files)
        return
    with pytest.raises(PemProblem):
        read(cut)


@given(junk=st.binary(max_size=300))
def test_rubbish_is_refused_with_a_reason(junk: bytes) -> None:
    with pytest.raises(PemProblem):
        read_pair(junk, junk, junk)


@pytest.mark.parametrize("issuers", ["leaf", "empty"])
def test_one_that_is_signed_by_itself_is_complete(maker: Any, issuers: str) -> None:
    files = maker.self_signed(["a.example.com"])
    found = read(files if issuers == "leaf" else files | {"chain": b""})
    assert (found.domains, found.issuer, found.self_signed) == (("a.example.com",), "Ourselves", True)
    assert read(maker.self_signed(["a.example.com"], cn="")).issuer == "a.example.com"
    assert read(maker.files(["a.example.com"])).self_signed is False


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f, m: {"chain": m.files(["a.example.com"])["chain"]}, "not complete"),
        (lambda f, m: {"chain": f["chain"][:-40]}, "damaged"),
        (
            lambda f, m: {"fullchain": f["cert"] + m.files(["a.example.com"])["chain"]},
            "not the certificate's",
        ),
        (lambda f, m: {"privkey": m.other_key()}, "the key is not the certificate's"),
    ],
)
def test_one_that_is_signed_by_itself_is_damaged_like_others(
    maker: Any, change: Callable[..., Any], reason: str
) -> None:
    files = maker.self_signed(["a.example.com"])
    with pytest.raises(PemProblem, match=reason):
        read({**files, "chain": b"", **change(files, maker)})


def test_one_that_only_says_it_signed_itself_is_not_complete(maker: Any) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(PemProblem, match="not complete"):
        read(maker.self_signed(["a.example.com"], key=other))
