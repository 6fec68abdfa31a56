"""What certbot and the authority said, as a sentence that somebody can act on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

# Problem types of RFC 8555, section 6.7, and of what stands between here and the authority. `{name}`
# is the name that failed, `{authority}` the directory's address.
_WRONG_ANSWER: Final = (
    "The authority asked {name} for the proof and got something else: see that the name leads to this host "
    "only, and that nothing else answers port 80 there."
)
_NO_RECORD: Final = (
    "The authority cannot look {name} up: create its DNS record, or correct it, and give it time to spread."
)
_BAD_ADDRESS: Final = "The authority refuses the address in certbot.email: set another one."
_SENTENCES: Final[Mapping[str, str]] = {
    "unauthorized": _WRONG_ANSWER,
    "incorrectResponse": _WRONG_ANSWER,
    "dns": _NO_RECORD,
    "unknownHost": _NO_RECORD,
    "dnssec": "DNSSEC of {name} is broken: mend the zone's signatures, or take its DS record out.",
    "connection": "The authority cannot connect to {name}: open port 80 of this host to the internet, and "
    "see that the DNS records, IPv6 ones too, name this host.",
    "tls": "The authority met a TLS error at {name}: port 80 must not redirect challenges to a broken site.",
    "caa": "A CAA record forbids this authority to issue for {name}: add the authority to it, or remove it.",
    "rejectedIdentifier": "The authority does not issue for {name}: it is on a list of names it refuses.",
    "unsupportedIdentifier": "The authority does not issue for names such as {name}.",
    "rateLimited": "The authority takes no more requests of this kind for now: wait, nothing else helps.",
    "externalAccountRequired": "The authority wants an external account: set certbot.eab_kid and "
    "certbot.eab_hmac_key to what it gave you.",
    "accountDoesNotExist": "The authority does not know the account of this panel any more: try again.",
    "userActionRequired": "The authority wants something agreed to: its answer says where.",
    "invalidEmail": _BAD_ADDRESS,
    "invalidContact": _BAD_ADDRESS,
    "unsupportedContact": _BAD_ADDRESS,
    "badNonce": "The authority refused each of several attempts for a stale nonce: try again later.",
    "serverInternal": "The authority has an error of its own: try again later.",
    "malformed": "The authority does not understand the request; certbot's words say why.",
    "unreachable": "The authority at {authority} cannot be reached: see that this host has a way to it.",
    "untrusted": "The TLS certificate of {authority} is not trusted: set certbot.ca_file to the file that "
    "vouches for it.",
    "rubbish": "What answers at {authority} is no ACME authority, or is broken: check certbot.server.",
    "busy": "Another certbot works in the same folder: wait until it has ended.",
    "timeout": "certbot took longer than {limit:g} seconds and was stopped: the authority is slow.",
    "": "certbot failed.",
}
TRANSIENT: Final = frozenset({"badNonce", "serverInternal", "unreachable", "busy"})
_FROM_OUTPUT: Final = (
    ("externalAccountRequired", re.compile(r"requires external account binding")),
    ("busy", re.compile(r"Another instance of Certbot is already running")),
    ("untrusted", re.compile(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed")),
    (
        "serverInternal",
        re.compile(r"<Response \[5\d\d\]>|MissingNonce|\b50[0-4] (?:Server|Internal|Bad|Service|Gateway)"),
    ),
    (
        "unreachable",
        re.compile(
            r"Max retries exceeded|Connection (?:refused|reset|aborted)|ConnectionError|ConnectTimeout"
            r"|ReadTimeout|RemoteDisconnected|Requesting [^ ]+: (?:Network|Connection|.*timed out)"
            r"|SSLError|ProxyError"
        ),
    ),
)
_RUBBISH: Final = re.compile(
    r"JSONDecodeError|Expecting value|DeserializationError|Deserialization error|KeyError|Unexpected response"
    r"|AttributeError|<Response \[[2-4]\d\d\]>|Directory field not found|Unexpected (?:content|server)"
)
_PROBLEM: Final = re.compile(
    r"^\s*(?:Domain|Identifier):\s*(?P<name>\S+)\s*^\s*Type:\s*(?P<kind>\w+)\s*^\s*Detail:\s*(?P<detail>.*)$",
    re.MULTILINE,
)
_UNRESOLVED: Final = re.compile(r"could not resolve|no such host|NXDOMAIN|SERVFAIL", re.IGNORECASE)
_URN: Final = re.compile(r"urn:ietf:params:acme:error:(\w+)")
_DETAIL: Final = re.compile(r'"detail":\s*"((?:[^"\\]|\\.)*)"')
_RETRY_AFTER: Final = re.compile(
    r"HTTP (?:429|503)\n(?:[!-9;-~]+:[^\n]*\n)*?Retry-After:[ \t]*([^\n]+)", re.IGNORECASE
)
_RETRY_TEXT: Final = re.compile(r"[Rr]etry after (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?: UTC|Z)")
_ALWAYS: Final = re.compile(r"Saving debug log to |Ask for help or search for solutions at |(?:- ){20}")
_TAIL: Final = 4000
# A limit of which the authority does not say when it ends.
_LIMITED: Final = timedelta(hours=1)
_LONGEST_WAIT: Final = timedelta(days=7)
_DETAIL_LENGTH: Final = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """Why it failed: ``kind`` is a problem type or empty, ``wait`` what the authority asked for."""

    kind: str
    sentence: str
    detail: str = ""
    wait: timedelta | None = None

    @property
    def transient(self) -> bool:
        """Whether trying again at once may help."""
        return self.kind in TRANSIENT

    @property
    def reason(self) -> str:
        """The sentence, and the authority's own words."""
        return f"{self.sentence} The authority said: {self.detail}" if self.detail else self.sentence


def fault(output: str, log: str, names: tuple[str, ...], authority: str, moment: datetime) -> Fault:
    """What a failed run means; ``output`` is what certbot printed, ``log`` what it wrote."""
    problem = _PROBLEM.search(output)
    kind = problem["kind"] if problem else _kind(output, log)
    if kind == "connection" and problem and _UNRESOLVED.search(problem["detail"]):
        # Some authorities look the name up and connect in one step, and call both the same.
        kind = "dns"
    name = problem["name"] if problem else " or ".join(names[:3])
    detail = problem["detail"].strip() if problem else _last_detail(log) if _URN.search(log) else ""
    said = tail(output).splitlines()
    return Fault(
        kind=kind,
        sentence=sentence(kind, name, authority) if kind or not said else f"certbot failed: {said[-1]}",
        detail=detail[:_DETAIL_LENGTH] if kind not in ("unreachable", "untrusted", "busy", "rubbish") else "",
        wait=_wait(kind, log + output, moment) if kind in ("rateLimited", "serverInternal") else None,
    )


def sentence(kind: str, name: str = "", authority: str = "", limit: float = 0) -> str:
    """The sentence of a kind; kinds that nobody knows have the general one."""
    return _SENTENCES.get(kind, _SENTENCES[""]).format(name=name, authority=authority, limit=limit)


def tail(output: str) -> str:
    """The end of an output, as much of it as an answer carries, without what certbot says each time."""
    lines = output.partition("NEXT STEPS:")[0].splitlines()
    kept = [line.rstrip() for line in lines if not _ALWAYS.match(line)]
    return "\n".join(kept).strip()[-_TAIL:]


def _kind(output: str, log: str) -> str:
    for kind, pattern in _FROM_OUTPUT:
        if pattern.search(output):
            return kind
    types = _URN.findall(log)
    if types:
        return str(types[-1])
    return "rubbish" if _RUBBISH.search(output) else ""


def _last_detail(log: str) -> str:
    found = _DETAIL.findall(log)
    return found[-1].replace('\\"', '"') if found else ""


def _wait(kind: str, text: str, moment: datetime) -> timedelta | None:
    until = _retry_moment(text, moment)
    if until is None:
        return _LIMITED if kind == "rateLimited" else None
    return min(max(until - moment, timedelta(0)), _LONGEST_WAIT)


def _retry_moment(text: str, moment: datetime) -> datetime | None:
    headers = _RETRY_AFTER.findall(text)
    words = _RETRY_TEXT.findall(text)
    try:
        if headers:
            value = headers[-1].strip()
            if value.isdecimal():
                return moment + timedelta(seconds=min(int(value[:9]), 10**7))
            parsed = parsedate_to_datetime(value)
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        if words:
            return datetime.fromisoformat(f"{words[-1][0]}T{words[-1][1]}+00:00")
    except (ValueError, OverflowError):
        return None
    return None
