"""A panel with a proxy of its own: an nginx container on a network and on ports of the test's own."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import requests
from cryptography import x509
from docker.errors import APIError, NotFound

from flatrun_e2e.panel import PanelProcess
from flatrun_e2e.ports import Ports
from flatrun_e2e.sites import compose_of

HERE = "127.0.0.1"
ANSWER_SECONDS = 30
IMPATIENT_SECONDS = 5
PORT = 8000
# Of the page that the proxy shows to visitors of hosts that no site has.
WELCOME = b"No site has this name yet"
APPLICATION: dict[str, Any] = {"command": ["python3", "-u", "/app/application.py"], "expose": [str(PORT)]}


@dataclass(frozen=True)
class Answer:
    """What a visitor got; `certificate` is the leaf that the proxy showed, None without TLS."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    certificate: x509.Certificate | None = None

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def application(self) -> str:
        """The name of the application that answered, empty when none did."""
        return self.headers.get("X-Application", "")


@dataclass(frozen=True)
class Address:
    """Where the proxy listens on this machine."""

    http: int
    https: int


class Edge:
    """A panel and its proxy.

    Attributes:
        panel: the panel.
        name: of the proxy's container and of the network that it shares with the sites.
        ports: where it listens, on 127.0.0.1.
    """

    def __init__(
        self, engine: docker.APIClient, name: str, ports: Ports, image: str, http_port: int | None = None
    ) -> None:
        self.engine, self.name, self.image = engine, name, image
        self.ports = Address(http_port or ports.next(), ports.next())
        self.panel: PanelProcess

    def settings(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings of a panel with what they have to say of the proxy; `more` comes first."""
        own: dict[str, Any] = {
            # Environments of tests have every example installed too.
            "proxy": {"backend": "nginx"},
            "nginx": {
                "enabled": True,
                "container_name": self.name,
                "image": self.image,
                "bind_address": HERE,
                "http_port": self.ports.http,
                "https_port": self.ports.https,
            },
            "infrastructure": {"default_proxy_network": self.name},
        }
        return {**own, **{name: {**own.get(name, {}), **group} for name, group in more.items()}}

    @property
    def folder(self) -> Path:
        """The folder of nginx."""
        return self.panel.root / "nginx"

    @property
    def files(self) -> dict[str, bytes]:
        """What nginx reads: the name of each file in conf.d, and its content."""
        folder = self.folder / "conf.d"
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}

    def container(self) -> dict[str, Any]:
        """Return the proxy's container as the Engine describes it."""
        found: dict[str, Any] = self.engine.inspect_container(self.name)
        return found

    def log(self) -> str:
        """Return what nginx wrote."""
        written: bytes = self.engine.logs(self.name)
        return written.decode(errors="replace")

    def connect(
        self, host: str, *, root: Path | None = None, patience: float = ANSWER_SECONDS
    ) -> socket.socket:
        """Open a connection to the proxy, by TLS for a host when there is a root to check it with."""
        plain = socket.create_connection((HERE, self.ports.https if root else self.ports.http), patience)
        if root is None:
            return plain
        try:
            return ssl.create_default_context(cafile=str(root)).wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def visit(
        self,
        host: str,
        path: str = "/",
        *,
        root: Path | None = None,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        patience: float = ANSWER_SECONDS,
    ) -> Answer:
        """Ask for a page as a browser would for `http://<host><path>`, `https:` with a root.

        The path goes out as it is. `data` is what http.client takes as a body, `patience` how many
        seconds of silence are borne.
        """
        connection = http.client.HTTPConnection(HERE)
        connection.sock = self.connect(host, root=root, patience=patience)
        try:
            shown = connection.sock.getpeercert(True) if isinstance(connection.sock, ssl.SSLSocket) else None
            connection.request(method, path, body=data, headers={"Host": host, **(headers or {})})
            answer = connection.getresponse()
            leaf = x509.load_der_x509_certificate(shown) if shown else None
            return Answer(answer.status, answer.headers, answer.read(), leaf)
        finally:
            connection.close()

    def leaf(self, host: str, root: Path) -> x509.Certificate:
        """Return the certificate that the proxy shows for a host, which must be good."""
        with self.connect(host, root=root) as connection:
            assert isinstance(connection, ssl.SSLSocket)
            shown = connection.getpeercert(True)
            assert shown is not None
            return x509.load_der_x509_certificate(shown)

    def answered_by(self, host: str, path: str = "/") -> str:
        """Return the name of the application that answers, empty when the proxy itself does.

        A target that has just gone may keep a visitor waiting; he goes away as "nobody".
        """
        try:
            return self.visit(host, path, patience=IMPATIENT_SECONDS).application
        except (OSError, http.client.HTTPException):
            return "nobody"

    def status(self, host: str, path: str = "/") -> int:
        """Return the status of a page, 0 while the proxy does not answer or knows no such host."""
        try:
            answer = self.visit(host, path, patience=IMPATIENT_SECONDS)
        except (OSError, http.client.HTTPException):
            return 0
        return 0 if WELCOME in answer.body else answer.status

    def wait(self, host: str, wanted: int, path: str = "/", seconds: float = 30) -> None:
        """Wait until a page has a status."""
        wait_until(lambda: self.status(host, path), wanted, seconds)

    def site(self, name: str, image: str, *, port: int = PORT, **services: dict[str, Any]) -> dict[str, Any]:
        """Create and start a deployment of the application, whose name is the answers' name.

        `services` are further services, or `web` with settings of its own.
        """
        web = {**APPLICATION, "environment": {"NAME": name}, "expose": [str(port)]}
        full = {"web": {**web, **services.pop("web", {})}}
        for service, more in services.items():
            full[service] = {**APPLICATION, "environment": {"NAME": f"{name}-{service}"}, **more}
        body = {"name": name, "compose": compose_of(image, **full), "auto_start": True}
        answer = self.panel.post("/api/deployments", body)
        assert (answer.status_code, answer.json().get("start_error")) == (201, ""), answer.text
        return dict(answer.json())

    def add(self, deployment: str, host: str, **more: Any) -> dict[str, Any]:
        """Give a deployment a domain and return the answer, which must be good."""
        answer = self.ask_add(deployment, host, **more)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def ask_add(self, deployment: str, host: str, **more: Any) -> requests.Response:
        """Ask for a domain of a deployment."""
        body = {"domain": host, "service": "web", "port": PORT, **more}
        return self.panel.post(f"/api/deployments/{deployment}/domains", body)

    def remove(self, deployment: str, entry: Mapping[str, Any]) -> None:
        """Take a domain from a deployment."""
        answer = self.panel.delete(f"/api/deployments/{deployment}/domains/{entry['domain']['id']}")
        assert answer.status_code == 200, answer.text

    def clear(self) -> None:
        """Remove the proxy's container and its network, and say what is left."""
        _quietly(self.engine.remove_container, self.name, force=True, v=True)
        try:
            attached = self.engine.inspect_network(self.name)["Containers"]
        except NotFound:
            return
        # Containers of the test's own; those of deployments have gone with the panel.
        for container in attached:
            _quietly(self.engine.remove_container, container, force=True, v=True)
        self.engine.remove_network(self.name)


def _quietly(call: Callable[..., Any], *args: Any, **options: Any) -> None:
    try:
        call(*args, **options)
    except NotFound:
        return
    except APIError as error:
        # Already being removed by somebody else counts as gone.
        if error.status_code != http.HTTPStatus.CONFLICT:
            raise


def wait_until(look: Callable[[], Any], wanted: Any, seconds: float = 30) -> None:
    """Look until it is so."""
    until = time.monotonic() + seconds
    while (seen := look()) != wanted:
        assert time.monotonic() < until, f"{seen!r} instead of {wanted!r}"
        time.sleep(0.1)
