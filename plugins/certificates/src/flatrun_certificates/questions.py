"""Questions to the DNS, whose failures are sentences a person can act on."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import dns.exception
import dns.name
import dns.rcode
import dns.resolver

from flatrun_certificates.caa import Caa
from flatrun_certificates.pools import submit
from flatrun_certificates.resolution import resolver_at

SETTING: Final = "certbot.resolver"


class Unanswered(LookupError):
    """The DNS gave no answer; the text says why and what to do."""


class Questions:
    """Asks one resolver; any thread may.

    The constructor raises ``ValueError`` or ``DNSException`` when there is no resolver to ask.
    """

    def __init__(self, resolver: str, lifetime: float) -> None:
        self._resolver, self._lifetime = resolver, lifetime
        self._asked = resolver_at(resolver, lifetime)

    def addresses(self, host: str) -> list[str]:
        """Every address of a name, IPv6 first as authorities try them; raises ``Unanswered``."""
        with ThreadPoolExecutor(2) as pool:
            jobs = [submit(pool, self._ask, host, kind) for kind in ("AAAA", "A")]
            results = [job.exception() or job.result() for job in jobs]
        found = [answer.to_text() for one in results if not isinstance(one, BaseException) for answer in one]
        if found:
            return found
        failures = [one for one in results if isinstance(one, Unanswered)]
        others = [one for one in results if isinstance(one, BaseException) and one not in failures]
        if others:
            raise others[0]
        if failures:
            raise failures[0]
        raise Unanswered(f"{host} has no address: add an A record that points to this server.")

    def caa(self, name: str) -> list[Caa]:
        """The CAA records at exactly this name; raises ``Unanswered``."""
        try:
            answers = self._ask(name, "CAA")
        except _Nowhere:
            return []
        return [Caa(one.flags, one.tag.decode("ascii", "replace"), _text(one.value)) for one in answers]

    def _ask(self, name: str, kind: str) -> Iterable[Any]:
        """The answers, none where the name has no record of that kind."""
        try:
            return tuple(self._asked.resolve(_absolute(name), kind))
        except dns.resolver.NoAnswer:
            return ()
        except dns.resolver.NXDOMAIN:
            raise _Nowhere(
                f"{name} does not exist in the DNS: add an A record that points to this server, or correct "
                "the name."
            ) from None
        except dns.resolver.NoNameservers as error:
            raise Unanswered(self._no_server(name, error)) from None
        except dns.exception.Timeout:
            raise Unanswered(
                f"The resolver {self._who()} did not answer for {name} within {self._lifetime:g} s: look at "
                f"this server's network and at {SETTING}."
            ) from None
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise Unanswered(f"{name} cannot be resolved: {error}.") from error

    def _no_server(self, name: str, error: dns.resolver.NoNameservers) -> str:
        codes = [
            dns.rcode.to_text(response.rcode())
            for *_, response in error.kwargs.get("errors", ())
            if response is not None
        ]
        if codes:
            return (
                f"The name servers of {name} answer with an error ({codes[-1]}): look at the zone, its "
                "delegation and its DNSSEC signatures."
            )
        return (
            f"The resolver {self._who()} cannot be reached: look at this server's network and at {SETTING}."
        )

    def _who(self) -> str:
        return self._resolver or ", ".join(str(one) for one in self._asked.nameservers)


class _Nowhere(Unanswered):
    """The name does not exist."""


def _absolute(name: str) -> dns.name.Name:
    return dns.name.from_text(name.rstrip("."))


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
