"""A real ACME authority for the panel and for certbot by hand."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.edge import Edge
from lib.stage import ROOT, Stage

sys.path.insert(0, str(ROOT / "tests/e2e"))

from flatrun_e2e.pebble import Pebble, PebbleOptions, running_pebble
from flatrun_e2e.ports import Ports


@contextmanager
def edge_with_authority(stage: Stage) -> Iterator[tuple[Edge, Pebble]]:
    """A panel's edge, configured for an authority that answers and knows every name as this host."""
    folder = stage.config.parent / "pebble"
    with Edge(stage) as edge, running_pebble(folder, Ports(), PebbleOptions(http_port=edge.http)) as pebble:
        stage.configure(
            f"certbot: {{email: bench@example.com, server: '{pebble.directory}', ca_file: {pebble.ca_file}, "
            f"http01_port: {edge.http}, resolver: '{pebble.dns.address}'}}"
        )
        yield edge, pebble


def by_certbot(edge: Edge, pebble: Pebble) -> Callable[[str], None]:
    """A function that gets a certificate as a person would: certbot with the webroot, then a reload."""
    folder = edge.stage.config.parent / "certbot"
    program = Path(sys.executable).with_name("certbot")
    folders = [f"--{name}-dir={folder / name}" for name in ("config", "work", "logs")]
    webroot = edge.stage.root / "nginx/html"
    fixed = ["certonly", "--webroot", "-w", webroot, "--server", pebble.directory, "--agree-tos", "-n"]

    def issue(host: str) -> None:
        arguments = [*fixed, "--no-eff-email", "-m", "bench@example.com", "-d", host, *folders]
        environment = {**os.environ, "REQUESTS_CA_BUNDLE": str(pebble.ca_file)}
        for command in ([program, *arguments], ["docker", "exec", edge.container, "nginx", "-s", "reload"]):
            done = subprocess.run(
                [str(word) for word in command], capture_output=True, text=True, env=environment, check=False
            )
            if done.returncode:
                raise RuntimeError(done.stdout + done.stderr)

    return issue
