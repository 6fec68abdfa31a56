"""The issuer ``certbot``: the program in a child process of the panel's own interpreter."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from flatrun_certificates import remains, repair
from flatrun_certificates.dns_bridge import dns_bridge
from flatrun_certificates.errors import NotIssued, TookTooLong, TooMany
from flatrun_certificates.faults import Fault, fault
from flatrun_certificates.lineages import read_lineage
from flatrun_certificates.paths import Folders
from flatrun_certificates.settings import CertbotSettings
from flatrun_core import Failed, TimedOut
from flatrun_core.db import now
from flatrun_core.ports.certificates import CertificateRequest, DnsRecords, Issued
from flatrun_core.ports.programs import Completed, Programs

log = logging.getLogger(__name__)

LIMIT: Final = 300.0
_WAITS: Final = (1.0, 3.0, 9.0)
# -P: a module beside the panel's working folder must not stand in for one of certbot's.
_PROGRAM: Final = (sys.executable, "-P", "-c", "import sys; from certbot.main import main; sys.exit(main())")
_DNS: Final = "flatrun-dns"
_BY_DNS: Final = f"--authenticator={_DNS}"
_LOG: Final = "letsencrypt.log"
_LOG_LENGTH: Final = 1 << 18
_NOT_OURS: Final = "certbot did not get it and cannot renew it: put a newer one into {folder} by hand."


class CertbotIssuer:
    """Implements ``Issuer``. ``records`` answers who can prove by DNS, ``sleep`` waits between attempts."""

    name = "certbot"

    def __init__(
        self,
        programs: Callable[[], Programs],
        folders: Callable[[], Folders],
        settings: Callable[[], CertbotSettings],
        records: Callable[[], DnsRecords | None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._programs = programs
        self._folders = folders
        self._settings = settings
        self._records = records
        self._sleep = sleep

    def issue(self, request: CertificateRequest) -> Issued:
        """Get a certificate for the hosts; one that has exactly these names is kept while it is good."""
        names = [f"--domains={host}" for host in request.hosts]
        how = ["--force-renewal"] if request.force else ["--keep-until-expiring"]
        args = ["certonly", *how, "--renew-with-new-domains", f"--cert-name={request.name}", *names]
        return self._run(request.name, request.hosts, [*args, *self._proof(request)])

    def renew(self, name: str, *, force: bool) -> Issued:
        """Renew a lineage as it was had."""
        folders = self._folders()
        lineage = read_lineage(folders, name)
        if remains.is_by_hand(folders, name):
            raise NotIssued(Fault("local", _NOT_OURS.format(folder=folders.live / name)), "")
        names = lineage.leaf.domains if lineage.leaf else (name,)
        # certbot would put the proof where it did before, and nobody serves it from there now.
        elsewhere = lineage.authenticator == "webroot" and str(folders.webroot) not in lineage.webroots
        if elsewhere or not remains.is_whole(folders, name):
            by_dns = lineage.authenticator == _DNS or any(one.startswith("*.") for one in names)
            challenge = "dns-01" if by_dns else "http-01"
            return self.issue(CertificateRequest(name, names, challenge, force=force))
        args = ["renew", f"--cert-name={name}", "--no-random-sleep-on-renew"]
        bridged = lineage.authenticator == _DNS
        return self._run(name, names, [*args, *(["--force-renewal"] if force else [])], bridged=bridged)

    def delete(self, name: str) -> None:
        """Let certbot forget a lineage; what it does not know or leaves behind is removed."""
        folders = self._folders()
        if remains.is_whole(folders, name):
            done = self._call(["delete", f"--cert-name={name}", *self._common()], {}, LIMIT)
            if done.returncode:
                raise NotIssued(Fault("local", "certbot could not delete the certificate."), done.output)
        remains.remove(folders, name)

    def _proof(self, request: CertificateRequest) -> list[str]:
        if request.challenge == "dns-01":
            return [_BY_DNS, "--preferred-challenges=dns"]
        return ["--webroot", f"--webroot-path={self._folders().webroot}"]

    def _run(
        self, name: str, hosts: Sequence[str], args: Sequence[str], *, bridged: bool | None = None
    ) -> Issued:
        """Run with nothing in the way, and find what came of it."""
        with ExitStack() as stack:
            with _folder_is_ours():
                self._prepare(name)
                stack.enter_context(remains.out_of_the_way(self._folders(), name))
            before = remains.marks(self._folders(), name)
            output = self._run_again(hosts, args, _BY_DNS in args if bridged is None else bridged)
            return Issued(remains.made(before, remains.marks(self._folders(), name), name), output)

    def _run_again(self, hosts: Sequence[str], args: Sequence[str], bridged: bool) -> str:
        """Run until it succeeds, is refused, or was tried often enough; what certbot printed."""
        until = time.monotonic() + LIMIT
        with self._environment(bridged) as env:
            for wait in (*_WAITS, None):
                started = time.time_ns()
                done = self._call([*args, *self._common(), *self._account()], env, until - time.monotonic())
                if not done.returncode:
                    return done.output
                found = self._fault(done, started, tuple(hosts))
                if not self._again(found, wait, until):
                    break
        if found.kind == "rateLimited":
            raise TooMany(found.reason, found.wait, found)
        raise NotIssued(found, done.output)

    def _again(self, found: Fault, wait: float | None, until: float) -> bool:
        """Whether to try again, after the wait; what the authority asks for longer is not waited for here."""
        if found.kind == "accountDoesNotExist":
            return wait is not None and repair.forget_account(self._folders(), self._settings().directory)
        asked = found.wait.total_seconds() if found.wait is not None else 0.0
        longest = max(_WAITS)
        if wait is None or not found.transient or asked > longest:
            return False
        pause = max(wait, asked)
        if time.monotonic() + pause >= until:
            return False
        log.info("the authority or the way to it failed (%s); again in %g s", found.kind, pause)
        self._sleep(pause)
        return True

    def _call(self, args: Sequence[str], env: Mapping[str, str], limit: float) -> Completed:
        try:
            return self._programs().run([*_PROGRAM, *args], timeout=max(limit, 1.0), env=env)
        except TimedOut as exc:
            raise TookTooLong(LIMIT, str(exc.details.get("output", ""))) from exc

    # A value stands in one argument with its option, so that none is taken for an option itself.

    def _common(self) -> list[str]:
        folders = self._folders()
        return [
            *("--non-interactive", f"--config-dir={folders.config}"),
            *(f"--work-dir={folders.own / 'work'}", f"--logs-dir={folders.own / 'logs'}"),
            "--max-log-backups=20",
        ]

    def _account(self) -> list[str]:
        settings = self._settings()
        authority = [f"--server={settings.server}"] if settings.server else []
        if settings.staging and not settings.server:
            authority = ["--staging"]
        keys = self._folders().own / "eab.ini"
        external = [f"--config={keys}"] if settings.eab_kid and settings.eab_hmac_key else []
        return [f"--email={settings.email}", "--agree-tos", "--no-eff-email", *authority, *external]

    def _prepare(self, name: str) -> None:
        folders, settings = self._folders(), self._settings()
        for folder in (folders.config, folders.webroot):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for folder in (folders.own, folders.own / "work", folders.own / "logs"):
            folder.mkdir(mode=0o700, exist_ok=True)
        repair.repair(folders, name)
        if settings.eab_kid and settings.eab_hmac_key:
            _write_private(
                folders.own / "eab.ini",
                f"eab-kid = {settings.eab_kid}\neab-hmac-key = {settings.eab_hmac_key}\n",
            )

    @contextmanager
    def _environment(self, bridged: bool) -> Iterator[dict[str, str]]:
        settings = self._settings()
        trust = {"REQUESTS_CA_BUNDLE": str(settings.ca_file)} if settings.ca_file else {}
        records = self._records() if bridged else None
        if records is None:
            yield trust
            return
        with dns_bridge(records, self._folders().own, settings.resolver) as bridge:
            yield {**trust, **bridge}

    def _fault(self, done: Completed, started: int, hosts: tuple[str, ...]) -> Fault:
        return fault(done.output, self._log(started), hosts, self._settings().directory, now())

    def _log(self, started: int) -> str:
        """What the run wrote; a log that is older is another run's."""
        path = self._folders().own / "logs" / _LOG
        try:
            if path.stat().st_mtime_ns < started:
                return ""
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _LOG_LENGTH))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""


@contextmanager
def _folder_is_ours() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        raise Failed(f"The certificates' folder cannot be written: {where}{exc.strerror}") from exc


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        os.fchmod(handle, 0o600)
        file.write(text)


WAIT_FOR_TURN: Final = timedelta(seconds=2 * LIMIT)
