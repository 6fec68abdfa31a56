"""What the authority itself says: when to renew (RFC 9773), and its names in CAA records.

Nothing here raises for the network's sake: an authority that does not answer, or not sensibly, says
nothing, and the log tells why.
"""

import hashlib
import json
import logging
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import requests
from cryptography import x509
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

logger = logging.getLogger(__name__)

# RFC 9773, section 4.3.2: below and above, what the authority asks for is taken for a mistake.
SHORTEST_WAIT: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(days=1)
USUAL_WAIT: Final = timedelta(hours=6)
# Of the lifetime: a window that makes no sense by itself begins and ends there.
EARLIEST_SHARE: Final = 0.5
LATEST_SHARE: Final = 0.9
KEEP_DIRECTORY_SECONDS: Final = 300.0
LONGEST_ANSWER: Final = 1 << 18
READ_BYTES: Final = 1 << 16
LONGEST_EXPLANATION: Final = 500


@dataclass(frozen=True, slots=True)
class Window:
    """When the authority wants a certificate renewed, and from when on it may be asked again.

    All times are in UTC. ``explanation`` is a page that says why, mostly empty.
    """

    start: datetime
    end: datetime
    explanation: str
    next_poll: datetime


class Directories:
    """Directory documents of authorities, kept for five minutes; any thread may ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, str], tuple[float, Mapping[str, Any]]] = {}
        self._lock = threading.Lock()

    def get(self, url: str, ca_file: Path | str | None, timeout: float) -> Mapping[str, Any]:
        """The document; raises ``requests.RequestException`` or ``ValueError``."""
        key = (url, str(ca_file or ""))
        with self._lock:
            kept = self._kept.get(key)
        if kept and self._clock() - kept[0] < KEEP_DIRECTORY_SECONDS:
            return kept[1]
        document, _ = _fetch(url, ca_file, timeout)
        with self._lock:
            self._kept[key] = (self._clock(), document)
        return document


def ask(
    directory_url: str,
    ca_file: Path | str | None,
    leaf_pem: bytes,
    *,
    timeout: float,
    directories: Directories | None = None,
) -> Window | None:
    """The window in which the authority wants this certificate renewed.

    None when it offers none, cannot be asked or answers nonsense, and for a certificate that has
    ended, about which RFC 9773 forbids to ask. ``timeout`` is in seconds for each of two requests;
    with ``directories`` the first of them is mostly spared.
    """
    try:
        leaf = x509.load_pem_x509_certificate(leaf_pem)
        now = datetime.now(UTC)
        if leaf.not_valid_after_utc <= now:
            return None
        directory = (directories or Directories()).get(directory_url, ca_file, timeout)
        base = directory.get("renewalInfo")
        if not isinstance(base, str):
            return None
        answer, retry_after = _fetch(f"{base.rstrip('/')}/{certificate_id(leaf)}", ca_file, timeout)
        return _window(answer, retry_after, now, leaf)
    except (requests.RequestException, ValueError, x509.ExtensionNotFound) as error:
        logger.warning("The authority at %s gave no renewal information: %s", directory_url, error)
        return None


def moment(window: Window, fingerprint: str) -> datetime:
    """When to renew: by chance over the window for different certificates, for one always the same."""
    seed = f"{fingerprint.lower()} {window.start.isoformat()} {window.end.isoformat()}".encode()
    share = int.from_bytes(hashlib.sha256(seed).digest()[:8]) / 2**64
    return window.start + (window.end - window.start) * share


def authority_caa_names(
    directory_url: str,
    ca_file: Path | str | None,
    *,
    timeout: float,
    directories: Directories | None = None,
) -> tuple[str, ...]:
    """The names by which CAA records may allow this authority; empty when it does not say."""
    try:
        directory = (directories or Directories()).get(directory_url, ca_file, timeout)
    except (requests.RequestException, ValueError) as error:
        logger.warning("The authority at %s did not say its names: %s", directory_url, error)
        return ()
    meta = directory.get("meta")
    names = meta.get("caaIdentities") if isinstance(meta, Mapping) else None
    if not isinstance(names, list):
        return ()
    return tuple(name.rstrip(".").lower() for name in names if isinstance(name, str) and name)


def certificate_id(leaf: x509.Certificate) -> str:
    """How RFC 9773, section 4.1 names a certificate: its authority's key and its serial number.

    Raises ``x509.ExtensionNotFound`` or ``ValueError`` when it does not name the authority's key.
    """
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    if not issuer:
        raise ValueError("the certificate does not name the key of its authority")
    # DER writes integers signed: a first bit that is set gets an empty byte before it.
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1)
    return f"{_base64url(issuer)}.{_base64url(serial)}"


def wait_of(retry_after: str, now: datetime) -> timedelta:
    """What a Retry-After header asks for, seconds or a date, between a minute and a day."""
    text = retry_after.strip()
    try:
        if text.isascii() and text.isdigit():
            asked = timedelta(seconds=min(int(text[:12]), LONGEST_WAIT.total_seconds()))
        else:
            date = parsedate_to_datetime(text)
            asked = (date if date.tzinfo else date.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError):
        asked = USUAL_WAIT
    return min(max(asked, SHORTEST_WAIT), LONGEST_WAIT)


def _window(answer: Mapping[str, Any], retry_after: str, now: datetime, leaf: x509.Certificate) -> Window:
    """The window within what makes sense for the certificate; raises ``ValueError`` when none is left.

    Authorities that reckon with days give short-lived certificates windows which begin before they
    do and end after they do: those are cut, and one which is over already means now.
    """
    suggested = answer.get("suggestedWindow")
    if not isinstance(suggested, Mapping):
        raise ValueError("it names no window")
    start, end = _time(suggested.get("start")), _time(suggested.get("end"))
    if end <= start:
        raise ValueError(f"its window ends at {end} before it begins at {start}")
    begun, lifetime = leaf.not_valid_before_utc, leaf.not_valid_after_utc - leaf.not_valid_before_utc
    if start < begun and end > now:
        start = begun + lifetime * EARLIEST_SHARE
    end = min(end, begun + lifetime * LATEST_SHARE)
    if end <= start:
        raise ValueError(f"its window begins at {start}, when the certificate has nearly ended")
    explanation = answer.get("explanationURL")
    text = explanation[:LONGEST_EXPLANATION] if isinstance(explanation, str) else ""
    return Window(start, end, text, now + wait_of(retry_after, now))


def _time(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("its window has no beginning or no end")
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError(f"{value} names no time zone")
    try:
        return found.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{value} is no time") from error


def _fetch(url: str, ca_file: Path | str | None, timeout: float) -> tuple[Mapping[str, Any], str]:
    """A JSON object and the answer's Retry-After."""
    verify = str(ca_file) if ca_file else True
    try:
        with requests.get(url, timeout=timeout, verify=verify, stream=True) as answer:
            answer.raise_for_status()
            document = json.loads(_content(answer.raw, time.monotonic() + timeout))
            retry_after = answer.headers.get("Retry-After", "")
    except (OSError, HTTPError) as error:
        # A CA file that cannot be read, and what goes wrong while the answer is read.
        raise requests.RequestException(str(error)) from error
    except RecursionError as error:
        raise ValueError(f"{url} answered no JSON object") from error
    if not isinstance(document, Mapping):
        raise ValueError(f"{url} answered no JSON object")
    return document, retry_after


def _content(raw: HTTPResponse, deadline: float) -> bytes:
    """The whole answer, unless it is too long or takes too long."""
    content = b""
    while chunk := raw.read1(READ_BYTES, decode_content=True):
        content += chunk
        if len(content) > LONGEST_ANSWER or time.monotonic() > deadline:
            raise ValueError("its answer is too long, or takes too long")
    return content


def _base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
