"""A panel with nginx in front of it, what it is compared with, and a load generator."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator

from lib.stage import ROOT, Stage, free_port
from lib.timing import ran

sys.path.insert(0, str(ROOT / "scripts/lib"))

from flatrun_scripts import nginx_image, packages

CACHE = ROOT / ".cache"
TARGET = "server { listen 8080; access_log off; location / { return 200 'twelve bytes'; } }"
# What a person writes who reads the first page about proxying.
BY_HAND = """
server {{
    listen {port};
    server_name {host};
    location / {{
        proxy_pass http://{target};
        proxy_set_header Host $host;
    }}
}}
"""


class Edge:
    """Names and ports of one panel's edge; ``close`` removes what was made beside the panel's own."""

    def __init__(self, stage: Stage, more: str = "") -> None:
        self.stage = stage
        self.image = nginx_image.build(CACHE)
        self.network = f"{stage.prefix}-proxy"
        self.container = f"{stage.prefix}-nginx"
        self.http, self.https = free_port(), free_port()
        self.made: list[str] = []
        stage.configure(
            f"proxy: {{backend: nginx}}\ninfrastructure: {{default_proxy_network: {self.network}}}\n"
            f"nginx: {{container_name: {self.container}, image: '{self.image}', bind_address: 127.0.0.1, "
            f"http_port: {self.http}, https_port: {self.https}}}\n{more}"
        )
        ran("docker", "network", "create", self.network)

    def __enter__(self) -> "Edge":
        return self

    def __exit__(self, *_: object) -> None:
        self.stage.stop()
        for name in [*self.made, self.container]:
            subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)
        attached = json.loads(ran("docker", "network", "inspect", self.network))[0]["Containers"]
        for container in attached:
            ran("docker", "rm", "--force", "--volumes", container)
        ran("docker", "network", "rm", self.network)

    def beside(self, name: str, configuration: str, *options: str) -> str:
        """Another nginx of the same image on the same network, with one hand-written file."""
        folder = self.stage.config.parent / name
        folder.mkdir()
        (folder / "site.conf").write_text(configuration)
        full = f"{self.stage.prefix}-{name}"
        mount = f"{folder}:/etc/nginx/conf.d:ro"
        ran(
            "docker",
            "run",
            "--detach",
            "--name",
            full,
            "--network",
            self.network,
            *options,
            "-v",
            mount,
            self.image,
        )
        self.made.append(full)
        return full

    def site(self, name: str, host: str, *, service: str = "web", port: int = 80) -> None:
        """A deployment's folder with one domain in it, as a person may write it."""
        compose = f"services:\n  {service}:\n    image: {self.stage.image}\n    command: [sleep, '86400']\n"
        folder = self.stage.folder(name, compose)
        entry = f"domain: {host}, service: {service}, container_port: {port}"
        (folder / "service.yml").write_text(
            f"name: {name}\nnetworking: {{expose: true, {entry}}}\ndomains:\n  - {{id: main, {entry}}}\n"
        )

    def answers(self, host: str, wanted: int) -> bool:
        """Whether nginx answers a host with a status."""
        return status_of(self.http, host) == wanted

    def wait_for(self, host: str, wanted: int, limit: float = 120, pause: float = 0.1) -> None:
        """Until nginx answers a host with a status."""
        until = time.monotonic() + limit
        while not self.answers(host, wanted):
            if time.monotonic() > until:
                raise RuntimeError(
                    f"{host} answers {status_of(self.http, host)}: {self.stage.log.read_text()[-3000:]}"
                )
            time.sleep(pause)


def status_of(port: int, host: str) -> int:
    """The status of ``/`` for a host, 0 without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


@contextlib.contextmanager
def edge(stage: Stage, more: str = "") -> Iterator[Edge]:
    """An edge that goes with the block."""
    with Edge(stage, more) as made:
        yield made


def wrk() -> list[str]:
    """The load generator wrk, unpacked from the distribution's archive; how to call it."""
    for package, file in (("wrk", "usr/bin/wrk"), ("libluajit-5.1-2", "")):
        folder = CACHE / package
        if not folder.exists() or (file and not (folder / file).exists()):
            packages.download(package, CACHE)
    libraries = next((CACHE / "libluajit-5.1-2").rglob("libluajit-5.1.so.2")).parent
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(CACHE / "wrk/usr/bin/wrk")]


def rate(program: list[str], port: int, host: str, seconds: int) -> float:
    """Requests a second through a port, all of which must succeed."""
    said = ran(*program, "-t1", "-c32", f"-d{seconds}s", "-H", f"Host: {host}", f"http://127.0.0.1:{port}/")
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(said)
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    assert found is not None, said
    return float(found[1])
