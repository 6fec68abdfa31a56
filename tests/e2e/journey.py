"""The way of a site from its creation to a renewed certificate, with real programs, step by step.

`scripts/journey` prepares the machine and runs this. A panel, its nginx, an application and pebble as
the certificate authority are started, each with names and ports of its own; nothing stays.
"""

from __future__ import annotations

import io
import secrets
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from docker.utils import kwargs_from_env

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "images")]

import build as images  # noqa: E402  (found by the path above)
from flatrun_e2e.edge import Edge, wait_until  # noqa: E402
from flatrun_e2e.panel import PanelProcess  # noqa: E402
from flatrun_e2e.pebble import Pebble, PebbleOptions  # noqa: E402
from flatrun_e2e.ports import Ports  # noqa: E402
from flatrun_e2e.traces import Traces  # noqa: E402

BLOG, WWW, SHOP, ELSEWHERE = (f"{name}.example.test" for name in ("blog", "www.blog", "shop", "elsewhere"))
EMAIL = "you@example.test"
# An address of this machine on which nothing answers, in place of somebody else's server.
OTHER_ADDRESS = "127.0.0.9"
WIDTH = 96


class Surprise(Exception):
    """A step did not do what it was to show."""


@dataclass
class Clock:
    """Prints what was done, how long it took, and what was seen."""

    started: float = field(default_factory=time.monotonic)
    steps: int = 0

    @contextmanager
    def step(self, text: str) -> Iterator[Callable[[str], None]]:
        """Time what is done; the lines that it tells are printed below."""
        told: list[str] = []
        begun = time.monotonic()
        yield told.append
        self.steps += 1
        print(f"{self.steps:2}  {time.monotonic() - begun:6.2f} s  {text}")
        for line in told:
            print(f"                {line}")
        sys.stdout.flush()

    def end(self) -> None:
        """Print the time of everything."""
        print(f"    {time.monotonic() - self.started:6.2f} s  everything")


class Journey:
    """Everything that takes part."""

    def __init__(self, stack: ExitStack, clock: Clock, folder: Path) -> None:
        self._stack, self._clock, self._folder = stack, clock, folder
        self.engine = docker.APIClient(**kwargs_from_env(), version="auto", timeout=60)
        stack.callback(self.engine.close)
        self.site = f"journey-{secrets.token_hex(3)}"
        # Numbers of a worker that no run of the tests has.
        self._ports = Ports("gw15")
        self.edge = Edge(self.engine, f"{self.site}-proxy", self._ports, images.build("nginx"))
        self.authority: Pebble
        self.root = folder / "authority-root.pem"
        self.entries: dict[str, dict[str, Any]] = {}
        self.log = ""

    def go(self) -> None:
        """Go the whole way."""
        self.begin()
        self.create()
        self.look()
        self.secure()
        self.renew()
        self.fail()
        self.remove()

    def begin(self) -> None:
        """Start the authority and the panel."""
        with self._clock.step("The certificate authority is up (pebble)") as tell:
            # It refuses one good nonce in ten, and takes a proof for its own only half of the time.
            options = PebbleOptions(self.edge.ports.http, nonce_reject=10, authz_reuse=50)
            self.authority = Pebble(self._folder / "authority", self._ports, options)
            self._stack.callback(self._end_authority)
            self.authority.start()
            self.root.write_bytes(self.authority.root().public_bytes(Encoding.PEM))
            tell(self.authority.directory)
        with self._clock.step("The panel is up") as tell:
            self._stack.callback(self.take_down)
            self.edge.panel = PanelProcess(self._folder / "panel", self._ports.next(), self._settings())
            self.edge.panel.start()
            tell(self.edge.panel.url)

    def create(self) -> None:
        """Create the site and give it its first domain."""
        with self._clock.step("A deployment is created and runs") as tell:
            self.edge.site(self.site, images.build("application"), api={})
            tell(f"{self.site}, services web and api")
        with self._clock.step("It has a first domain with an alias; nginx is up and serves it") as tell:
            self.entries[BLOG] = self.edge.add(self.site, BLOG, aliases=[WWW])
            self.edge.wait(BLOG, 200)
            tell(f"nginx listens on 127.0.0.1:{self.edge.ports.http} and :{self.edge.ports.https}")
        with self._clock.step("It has a path for another service, and a second domain") as tell:
            self.edge.add(self.site, BLOG, path="/api", service="api", strip_prefix=True)
            self.entries[SHOP] = self.edge.add(self.site, SHOP)
            tell(f"{BLOG}/api and {SHOP}")

    def look(self) -> None:
        """Visit every host and path."""
        with self._clock.step("Each host and path is answered by its service over HTTP") as tell:
            for host, path, service in (
                (BLOG, "/", ""),
                (WWW, "/", ""),
                (BLOG, "/api/items", "-api"),
                (SHOP, "/", ""),
            ):
                answer = self.edge.visit(host, path)
                expect((answer.status, answer.application), (200, self.site + service))
                tell(f"http://{host}{path}  ->  {answer.application}, which saw {answer.json()['target']}")

    def secure(self) -> None:
        """Get certificates and look at them."""
        with self._clock.step("Certificates are asked for and had, proved over HTTP") as tell:
            for host, entry in self.entries.items():
                result = self._secure(entry)
                expect(result.get("certificate_exists"), True, result)
                tell(f"{host}: {result.get('ssl_message') or 'certificate requested and served'}")
        with self._clock.step("HTTPS is served, with chains that end in the authority's root") as tell:
            for host in (BLOG, WWW, SHOP):
                answer = self.edge.visit(host, root=self.root)
                expect((answer.status, answer.application), (200, self.site))
                tell(f"https://{host}/  ->  {described(answer.certificate)}")

    def renew(self) -> None:
        """Force a renewal and see the new certificate served."""
        before = self.edge.leaf(BLOG, self.root).serial_number
        with self._clock.step(f"A renewal of {BLOG} is forced") as tell:
            answer = self.edge.panel.post(f"/api/certificates/{BLOG}/renew")
            expect(answer.status_code, 200, answer.text)
            tell(str(answer.json()["message"]))
        with self._clock.step("The new certificate is served") as tell:
            leaf = self.edge.leaf(BLOG, self.root)
            expect(leaf.serial_number != before, True)
            tell(f"serial {before:x}"[:25] + " before")
            tell(f"serial {leaf.serial_number:x}"[:25] + " now")

    def fail(self) -> None:
        """Ask for a certificate that cannot be had, and see why."""
        with self._clock.step(f"{ELSEWHERE} points to another machine: no certificate, and why") as tell:
            self.authority.dns.add_a(ELSEWHERE, OTHER_ADDRESS)
            entry = self.edge.add(self.site, ELSEWHERE)
            result = self._secure(entry)
            expect(result["success"], True, result)
            expect(bool(result["ssl_error"]), True, result)
            for key in ("ssl_message", "ssl_error"):
                tell(f"{key}:")
                for line in str(result.get(key, "")).splitlines():
                    for part in textwrap.wrap(line, WIDTH):
                        tell(f"  {part}")
            expect(self.edge.visit(ELSEWHERE).application, self.site)
            tell(f"http://{ELSEWHERE}/ goes on answering")

    def remove(self) -> None:
        """Remove a domain and see it gone."""
        with self._clock.step(f"{SHOP} is removed, and gone") as tell:
            self.edge.remove(self.site, self.entries[SHOP])
            # Right after a reload nginx's earlier processes may still answer.
            wait_until(lambda: self.edge.status(SHOP), 0)
            answer = self.edge.visit(SHOP)
            expect(answer.application, "")
            expect(self.edge.visit(BLOG, root=self.root).application, self.site)
            tell(f"http://{SHOP}/  ->  the proxy's own page; {BLOG} is served")

    def take_down(self) -> None:
        """Remove everything and see that nothing is left."""
        with self._clock.step("Everything is taken down, and nothing is left") as tell:
            if hasattr(self.edge, "panel"):
                self.edge.panel.close()
                self.log = self.edge.panel.log
            left = Traces(self.engine).remove({self.site})
            self.edge.clear()
            names = [item["Names"][0] for item in self.engine.containers(all=True)]
            left += [name for name in names if self.site in name]
            left += [item["Name"] for item in self.engine.networks() if self.site in item["Name"]]
            expect(left, [])
            tell("no container, no network, no process")

    def _end_authority(self) -> None:
        # It shows its log at the end, which is for tests.
        with redirect_stdout(io.StringIO()):
            self.authority.close()

    def _settings(self) -> dict[str, Any]:
        certbot = {
            "enabled": True,
            "email": EMAIL,
            "server": self.authority.directory,
            "ca_file": str(self.authority.ca_file),
            "http01_port": self.edge.ports.http,
            "resolver": self.authority.dns.address,
        }
        return self.edge.settings({"certbot": certbot})

    def _secure(self, entry: dict[str, Any]) -> dict[str, Any]:
        path = f"/api/deployments/{self.site}/domains/{entry['domain']['id']}"
        answer = self.edge.panel.put(path, {"ssl": {"enabled": True, "auto_cert": True}})
        expect(answer.status_code, 200, answer.text)
        return dict(answer.json()["proxy_result"])


def described(certificate: x509.Certificate | None) -> str:
    """Return a certificate's names and its issuer."""
    if certificate is None:
        return "no certificate"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    issuer = certificate.issuer.rfc4514_string()
    return f"{', '.join(names.get_values_for_type(x509.DNSName))}, by {issuer}"


def expect(seen: object, wanted: object, more: object = "") -> None:
    """Stop when something is not as it should be."""
    if seen != wanted:
        raise Surprise(f"{seen!r} instead of {wanted!r} {more}")


def main() -> int:
    """Go the whole way; 1 when a step did not do what it was to show."""
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="flatrun-journey-") as name:
        try:
            with ExitStack() as stack:
                journey = Journey(stack, clock, Path(name))
                journey.go()
        except (Surprise, AssertionError, OSError) as surprise:
            print(f"FAILED after step {clock.steps}: {surprise}\nThe panel wrote:", file=sys.stderr)
            print(journey.log[-4000:], file=sys.stderr)
            return 1
    clock.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
