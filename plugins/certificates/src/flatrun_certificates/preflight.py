"""Looks before the authority is asked whether it will succeed, with causes a person can act on."""

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dns.exception

from flatrun_certificates import caa
from flatrun_certificates.causes import Here, cause
from flatrun_certificates.errors import Stopped
from flatrun_certificates.fetching import Deadline, Fetched, Fetcher, Outcome, Target
from flatrun_certificates.pools import submit
from flatrun_certificates.questions import Questions, Unanswered
from flatrun_core.ports.proxy import Endpoints

logger = logging.getLogger(__name__)

CHALLENGES: Final = ".well-known/acme-challenge"
PREFIX: Final = "flatrun-preflight-"
ALL_SECONDS: Final = 5.0
QUESTION_SECONDS: Final = 2.0
CONNECTION_SECONDS: Final = 2.0
HURRY_SECONDS: Final = 0.5
MOST_THREADS: Final = 24
STALE_SECONDS: Final = 3600
MOST_ADDRESSES: Final = 5
MOST_AUTHORITIES: Final = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found for one host: ``check`` is dns, http or caa; ``text`` is a sentence."""

    host: str
    check: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class _Run:
    """One look: what is asked with, and the token that the proxy must answer."""

    questions: Questions
    fetcher: Fetcher
    deadline: Deadline
    pool: ThreadPoolExecutor
    token: str
    content: str

    def fetch(self, target: Target, address: str, port: int | None = None) -> "Future[Fetched]":
        """Ask one address for the token."""
        more = () if port is None else (port,)
        return submit(self.pool, self.fetcher.fetch, target, address, self.content, *more)


class Preflight:
    """Resolves names, fetches a token of ours from every address, and reads CAA records.

    ``resolver`` is empty for the host's, or an address, alone or with a port. ``port`` is the one at
    which the authority fetches. ``authority_names`` are those that CAA records may allow.
    """

    def __init__(
        self,
        resolver: str,
        port: int,
        webroot: Path,
        endpoints: Callable[[], Endpoints],
        authority_names: Callable[[], tuple[str, ...]],
    ) -> None:
        self._resolver, self._port, self._webroot = resolver, port, webroot
        self._endpoints, self._authority_names = endpoints, authority_names

    def check(self, hosts: Sequence[str], *, wildcard: bool = False) -> list[Finding]:
        """What was found, host by host, within about five seconds; never raises for the network's sake.

        With ``wildcard`` the proof is by DNS, for which names need neither an address nor a server.
        ``Stopped`` when the panel ends.
        """
        if not hosts:
            return []
        deadline = Deadline(ALL_SECONDS)
        try:
            questions = Questions(self._resolver, QUESTION_SECONDS)
        except (ValueError, dns.exception.DNSException) as error:
            text = f"No name can be resolved: {error}. Name a DNS resolver in certbot.resolver."
            return [Finding(host, "dns", ok=False, text=text) for host in hosts]
        by_web = any(not wildcard and not host.startswith("*.") for host in hosts)
        # Two pools, because those who look at a host wait for those who fetch.
        pools = [ThreadPoolExecutor(MOST_THREADS, "preflight") for _ in range(2)]
        fetcher = Fetcher(questions.addresses, deadline, CONNECTION_SECONDS)
        try:
            with _token_in(self._webroot / CHALLENGES if by_web else None) as (token, content):
                run = _Run(questions, fetcher, deadline, pools[1], token, content)
                return self._look(hosts, run, pools[0], wildcard=wildcard)
        except OSError as error:
            text = f"{self._webroot} cannot be written ({error}): let the panel's user write there."
            return [Finding(host, "http", ok=False, text=text) for host in hosts]
        finally:
            # What still waits for a server that drips is woken, so that no thread stays.
            deadline.cut()
            for pool in pools:
                pool.shutdown(wait=False, cancel_futures=True)

    def _look(
        self, hosts: Sequence[str], run: _Run, pool: ThreadPoolExecutor, *, wildcard: bool
    ) -> list[Finding]:
        names = submit(pool, self._authority_names)
        jobs: list[tuple[str, str, Future[list[Finding]]]] = []
        for host in dict.fromkeys(hosts):
            by_dns = wildcard or host.startswith("*.")
            if not by_dns:
                jobs.append((host, "http", submit(pool, self._reach, run, host)))
            method = "dns-01" if by_dns else "http-01"
            jobs.append((host, "caa", submit(pool, self._allowed, run, host, names, method)))
        wait([job for _, _, job in jobs], run.deadline.left())
        return [finding for host, check, job in jobs for finding in _result(host, check, job)]

    def _reach(self, run: _Run, host: str) -> list[Finding]:
        try:
            addresses = run.questions.addresses(host)[:MOST_ADDRESSES]
        except Unanswered as error:
            return [Finding(host, "dns", ok=False, text=str(error))]
        found = [Finding(host, "dns", ok=True, text=f"{host} points to {', '.join(addresses)}.")]
        target = Target("http", host, self._port, f"/{CHALLENGES}/{run.token}")
        endpoints = self._endpoints().http
        jobs = [run.fetch(target, address) for address in addresses]
        own = [run.fetch(target, *at) for at in endpoints]
        answers = [job.result() for job in jobs]
        here = Here(bool(endpoints), any(job.result().outcome is Outcome.RIGHT for job in own))
        bad = [
            Finding(host, "http", ok=False, text=cause(host, address, self._port, answer, here))
            for address, answer in zip(addresses, answers, strict=True)
            if answer.outcome is not Outcome.RIGHT
        ]
        good = Finding(host, "http", ok=True, text=f"{host} answers with our token on port {self._port}.")
        return [*found, *(bad or [good])]

    def _allowed(self, run: _Run, host: str, names: "Future[tuple[str, ...]]", method: str) -> list[Finding]:
        wildcard = host.startswith("*.")
        name = host[2:] if wildcard else host
        try:
            place, records = caa.relevant(name, run.questions.caa)
        except Unanswered as error:
            return [Finding(host, "caa", ok=False, text=str(error))]
        authorities = self._known(names, run.deadline) if records else ()
        others = caa.refusal(records, authorities, method, wildcard=wildcard)
        if others is None:
            return [Finding(host, "caa", ok=True, text=f"No CAA record keeps the authority from {host}.")]
        who = f"only {', '.join(others[:MOST_AUTHORITIES])}" if others else "nobody"
        tag = "issuewild" if wildcard else "issue"
        value = authorities[0] if authorities else "the authority's name"
        return [
            Finding(
                host,
                "caa",
                ok=False,
                text=f"The CAA records of {place} let {who} issue for {host} (by {method}): add "
                f'{place} CAA 0 {tag} "{value}", or remove them.',
            )
        ]

    def _known(self, names: "Future[tuple[str, ...]]", deadline: Deadline) -> tuple[str, ...]:
        """The authority's names, none when it takes too long to say them."""
        try:
            return names.result(max(deadline.left() - HURRY_SECONDS, 0))
        except TimeoutError:
            return ()


@contextmanager
def _token_in(folder: Path | None) -> Iterator[tuple[str, str]]:
    """A file of ours with a text of ours, which goes again; raises ``OSError`` where it cannot be."""
    name, content = PREFIX + secrets.token_hex(16), secrets.token_urlsafe(24)
    if folder is None:
        yield name, content
        return
    try:
        _write(folder, name, content)
        yield name, content
    finally:
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)


def _write(folder: Path, name: str, content: str) -> None:
    """Write a file that the proxy may read; certbot may take the empty folder away in between."""
    for last in (False, True):
        for part in (folder.parent.parent, folder.parent, folder):
            if not part.is_dir():
                part.mkdir(parents=True, exist_ok=True)
                part.chmod(0o755)
        try:
            (folder / name).write_text(content, encoding="ascii")
            (folder / name).chmod(0o644)
            break
        except FileNotFoundError:
            if last:
                raise
    for old in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > STALE_SECONDS:
                old.unlink()


def _result(host: str, check: str, job: "Future[list[Finding]]") -> list[Finding]:
    if not job.done():
        text = f"{host} could not be looked at within {ALL_SECONDS:g} s: its servers are too slow to answer."
        return [Finding(host, check, ok=False, text=text)]
    error = job.exception()
    if error is None or isinstance(error, Stopped):
        return job.result()
    logger.error("The pre-flight of %s failed", host, exc_info=error)
    return [Finding(host, check, ok=False, text=f"{host} could not be looked at: {error}")]
