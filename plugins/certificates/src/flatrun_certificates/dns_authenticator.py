"""A plugin of certbot: it proves names by TXT records which the panel makes (``dns_bridge``).

Runs in the certbot child, so it imports nothing of the panel that a child does not need.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import dns.exception
import dns.name
import dns.resolver
from acme import challenges
from certbot import achallenges, errors, interfaces
from certbot.display import util as display
from certbot.plugins import common

from flatrun_certificates.dns_variables import RESOLVER_VARIABLE, SOCKET_VARIABLE
from flatrun_certificates.resolution import resolver_at

ANSWER_SECONDS: Final = 120.0
VISIBLE_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 1.0
QUESTION_SECONDS: Final = 5.0


class Authenticator(common.Plugin, interfaces.Authenticator):
    """Asks the panel for TXT records and waits until they can be seen."""

    description = "Proves names by DNS records which the Flatrun panel makes"
    hidden = True

    @classmethod
    def add_parser_arguments(cls, add: Callable[..., None]) -> None:
        """Take no option: what there is to know comes by the environment of each run."""

    def more_info(self) -> str:
        """Say what this does, for ``certbot plugins``."""
        return "Makes the TXT records of proofs through the panel that started certbot."

    def prepare(self) -> None:
        """Refuse to work outside the panel, which certbot asks before anything else happens."""
        if not os.environ.get(SOCKET_VARIABLE):
            raise errors.PluginError("flatrun-dns works only in a certbot that the panel has started")

    def get_chall_pref(self, domain: str) -> Iterable[type[challenges.Challenge]]:
        """Prove by DNS only."""
        return [challenges.DNS01]

    def perform(self, achalls: list[achallenges.AnnotatedChallenge]) -> list[challenges.ChallengeResponse]:
        """Present every record, then wait for all of them together."""
        wanted: dict[str, set[str]] = {}
        with _Panel() as panel:
            for challenge in achalls:
                name, value = _record(challenge)
                panel.ask("present", name, value)
                wanted.setdefault(name, set()).add(value)
        unseen = wait_until_visible(wanted, os.environ.get(RESOLVER_VARIABLE, ""), VISIBLE_SECONDS)
        for name in unseen:
            display.notify(
                f"The record {name} was made, but cannot be seen yet. The authority is asked anyway."
            )
        return [challenge.response(challenge.account_key) for challenge in achalls]

    def cleanup(self, achalls: list[achallenges.AnnotatedChallenge]) -> None:
        """Withdraw every record; what fails here the panel does once more at the end."""
        try:
            with _Panel() as panel:
                for challenge in achalls:
                    panel.ask("withdraw", *_record(challenge))
        except errors.PluginError as error:
            display.notify(f"The records of the proof could not be withdrawn: {error}")

    def auth_hint(self, failed_achalls: list[achallenges.AnnotatedChallenge]) -> str:
        """Say what to look at when the authority did not accept the proof."""
        names = ", ".join(sorted({_record(challenge)[0] for challenge in failed_achalls}))
        return (
            f"The panel made the TXT records {names}, and the authority did not see them. Look whether "
            "the name servers of the domain are those whose records the panel changes."
        )


class _Panel:
    """A connection to the panel that started this process."""

    def __enter__(self) -> "_Panel":
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            self._socket.connect(os.environ.get(SOCKET_VARIABLE, ""))
        except OSError as error:
            self._socket.close()
            raise errors.PluginError(f"the panel does not answer: {error}") from error
        self._lines = self._socket.makefile("rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, action: str, name: str, value: str) -> None:
        """Have a record made or taken back; raises ``PluginError`` with the panel's reason."""
        request = {"action": action, "name": name, "value": value}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(self._lines.readline())
        except (OSError, ValueError) as error:
            raise errors.PluginError(f"the panel did not answer: {error}") from error
        if "error" in answer:
            raise errors.PluginError(f"{name}: {answer['error']}")


def wait_until_visible(wanted: Mapping[str, set[str]], resolver: str, seconds: float) -> list[str]:
    """Wait until every value of every name is seen, and return the names of which one is not."""
    deadline = time.monotonic() + seconds
    left = list(wanted)
    while True:
        left = [name for name in left if not wanted[name] <= _values(name, resolver)]
        if not left or time.monotonic() + PAUSE_SECONDS > deadline:
            return left
        time.sleep(PAUSE_SECONDS)


def _values(name: str, resolver: str) -> set[str]:
    """The TXT values that can be seen; at the zone's own servers when no resolver is named.

    A recursive resolver remembers for minutes that a name was not there.
    """
    try:
        asked = resolver_at(resolver, QUESTION_SECONDS)
        if resolver:
            return _texts(asked, name)
        servers = _servers_of_zone(asked, name)
        if not servers:
            return _texts(asked, name)
        seen = []
        for server in servers:
            asked.nameservers = [server]
            seen.append(_texts(asked, name))
        return set.intersection(*seen)
    except (dns.exception.DNSException, OSError, ValueError):
        return set()


def _servers_of_zone(resolver: dns.resolver.Resolver, name: str) -> list[str]:
    zone = dns.resolver.zone_for_name(dns.name.from_text(name), resolver=resolver)
    found = []
    for server in resolver.resolve(zone, "NS"):
        try:
            found += [answer.to_text() for answer in resolver.resolve(server.to_text(), "A")]
        except dns.exception.DNSException:
            continue
    return found


def _texts(resolver: dns.resolver.Resolver, name: str) -> set[str]:
    try:
        answers: Iterable[Any] = resolver.resolve(dns.name.from_text(name), "TXT")
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return set()
    return {b"".join(answer.strings).decode("ascii", "replace") for answer in answers}


def _record(challenge: Any) -> tuple[str, str]:
    host = challenge.identifier.value
    return challenge.validation_domain_name(host), challenge.validation(challenge.account_key)
