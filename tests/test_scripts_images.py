"""Images out of packages, and what scripts/up decides about the proxy, without an Engine."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts/lib"))

from flatrun_scripts import archive_image, layout, nginx_image, proxy  # noqa: E402  (found by that path)


def package(**files: str) -> bytes:
    """Return the tar of a package; `_` in a name is a slash, a content that begins with > a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo("./" + name.replace("_", "/"))
            if content.startswith(">"):
                entry.type, entry.linkname = tarfile.SYMTYPE, content[1:]
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content.encode()))
    return buffer.getvalue()


def unpacked(root: archive_image._Root) -> dict[str, str]:
    """Return what is in a root file system: contents of files, targets of links."""
    with tarfile.open(fileobj=io.BytesIO(root.close())) as tar:
        found = {}
        for entry in tar:
            content = tar.extractfile(entry) if entry.isreg() else None
            found[entry.name] = content.read().decode() if content else f">{entry.linkname}"
        return found


def test_files_of_older_releases_land_in_usr_and_what_came_first_stays() -> None:
    root = archive_image._Root()
    root.add_package(package(lib_a="one", usr_lib_b="two"))
    root.add_package(package(usr_lib_a="three", etc_x=">y"))
    found = unpacked(root)
    assert (found["usr/lib/a"], found["usr/lib/b"], found["etc/x"]) == ("one", "two", ">y")
    assert found["lib"] == ">usr/lib"
    assert "lib/a" not in found


def test_manuals_stay_out_and_licences_come_in() -> None:
    root = archive_image._Root()
    root.add_package(package(usr_share_man_a="x", usr_share_doc_p_copyright="c", usr_share_locale_d="x"))
    found = unpacked(root)
    assert "usr/share/doc/p/copyright" in found
    assert not [name for name in found if "man" in name.split("/") or "locale" in name]


def test_the_authorities_of_the_packages_become_one_bundle() -> None:
    root = archive_image._Root()
    root.add_package(
        package(**{"usr_share_ca-certificates_a.crt": "A\n", "usr_share_ca-certificates_b.crt": "B"})
    )
    root.add_authorities()
    assert unpacked(root)[archive_image.BUNDLE] == "A\nB\n"


def test_the_tag_changes_with_recipe_and_packages(tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"one")
    first, other = nginx_image.image("a"), archive_image.Image("a", ("nginx",), files={"x": b"y"})
    tags = {
        archive_image._digest(first, busybox, "nginx 1"),
        archive_image._digest(first, busybox, "nginx 2"),
        archive_image._digest(other, busybox, "nginx 1"),
    }
    assert len(tags) == 3
    assert archive_image._digest(nginx_image.image("b"), busybox, "nginx 1") in tags


def test_certificates_and_files_by_hand_are_worth_keeping(tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    for name in ("conf.d", "certs/live", "ssl", "html"):
        (folder / name).mkdir(parents=True)
    assert proxy.belongings(folder) == []
    (folder / "certs/live/blog.example.com").mkdir()
    (folder / "certs/live/README").touch()
    (folder / "ssl/own.pem").touch()
    assert proxy.belongings(folder) == ["nginx/certs/live/blog.example.com", "nginx/ssl/own.pem"]


@pytest.mark.parametrize("wanted", ["openresty/openresty:alpine", "registry.example.com/nginx:1"])
def test_an_image_of_the_persons_own_is_left_alone(tmp_path: Path, wanted: str) -> None:
    state = layout.State.load(tmp_path)
    assert proxy.make_image(state, tmp_path, wanted) == wanted
    assert state.images == []
