"""Why an address does not answer with our token, and what to do, as sentences."""

from dataclasses import dataclass
from typing import Final

from flatrun_certificates.fetching import Fetched, Outcome

_STATES: Final = {
    Outcome.REFUSED: "refuses connections",
    Outcome.TIMEOUT: "does not answer",
    Outcome.UNREACHABLE: "cannot be reached",
    Outcome.BROKEN: "ends the connection without an answer",
}


@dataclass(frozen=True, slots=True)
class Here:
    """What is known of the proxy on this server: whether it runs, and answers with the token itself."""

    runs: bool
    answers: bool


def cause(host: str, address: str, port: int, fetched: Fetched, here: Here) -> str:
    """The sentence for one address of a host that did not answer rightly."""
    points = f"{host} points to {address}"
    state = _STATES.get(fetched.outcome)
    if not here.answers:
        what = f"where port {port} {state}" if state else f"which answers without our token: {fetched.seen}"
        return f"{points}, {what}. {_repair(here)}"
    if fetched.outcome is Outcome.REDIRECT:
        return (
            f"{points}, which does not answer with our token: {fetched.seen}. Exempt "
            "/.well-known/acme-challenge/ from the redirect, or point the name to this server."
        )
    if fetched.outcome is Outcome.WRONG:
        return (
            f"{points}, where another web server answers: {fetched.seen}. Point the name to this server, or "
            "end what else listens there."
        )
    return f"{points}, where port {port} {state}. {_open(address, port)}{_behind_a_router(fetched)}"


def _open(address: str, port: int) -> str:
    if ":" in address:
        return (
            f"Let the server answer on port {port} of this IPv6 address too, or remove the AAAA record: "
            "authorities try IPv6 first."
        )
    return f"Open port {port} in the firewall of that address, or point the name to this server."


def _behind_a_router(fetched: Fetched) -> str:
    """A server behind address translation often cannot reach the address at which others reach it."""
    if fetched.outcome not in (Outcome.TIMEOUT, Outcome.REFUSED, Outcome.UNREACHABLE):
        return ""
    return (
        " If it is the public address of this server's own router, it may be that only this server cannot "
        "reach it, and all is well."
    )


def _repair(here: Here) -> str:
    if not here.runs:
        return "The proxy on this server does not run: start it, and look at its log if it does not stay up."
    return "The proxy on this server does not answer for this name either: look at its log and at its sites."
