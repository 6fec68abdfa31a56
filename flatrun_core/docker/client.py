"""Talks HTTP to the Engine: one negotiated docker-py client, time limits, and typed failures."""

import contextlib
import http.client
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import docker
import docker.constants
import docker.errors
import docker.utils
import requests
import urllib3.exceptions

from flatrun_core.docker.refusals import engine_refusal
from flatrun_core.docker.transport import adapter
from flatrun_core.errors import DockerUnavailable

CONNECT_TIMEOUT: Final = 2.0
READ_TIMEOUT: Final = 5.0
_BODY_TIMEOUT: Final = 30.0
_ERROR: Final = 400
# The newest version of the API that this code was written for; an Engine is asked in an older one.
_KNOWN_API: Final = (1, 47)
_TIMED_OUT: Final = "timed out"
_POOL: Final = 64
_DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_BROKEN: Final = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    docker.errors.DockerException,
    http.client.HTTPException,
    OSError,
)


class RefusedError(Exception):
    """The Engine answered with an error; callers that expect this status turn it into their own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Stream:
    """The bytes of an answer as they come. ``close`` from any thread ends the reading at once."""

    def __init__(self, response: requests.Response, idle: float | None) -> None:
        self._raw = response.raw
        self._closed = threading.Event()
        connection = self._raw.connection
        if connection is not None and connection.sock is not None:
            connection.sock.settimeout(idle)

    def __iter__(self) -> Iterator[bytes]:
        """Chunks until the Engine ends it or ``close`` is called; ``DockerUnavailable`` when it breaks."""
        try:
            while chunk := self._raw.read1(1 << 16):
                yield chunk
        except (*_BROKEN, ValueError, AttributeError) as exc:
            # Closed under the reader, urllib3 fails in any of these ways.
            if not self._closed.is_set():
                raise unreachable(exc) from exc
        finally:
            self.close()

    def close(self) -> None:
        """End it; again is no error."""
        if self._closed.is_set():
            return
        self._closed.set()
        # Shut down first: closing alone would wait for whoever is blocked in reading.
        with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):
            self._raw.shutdown()
        with contextlib.suppress(*_BROKEN, ValueError, AttributeError):
            self._raw.close()


@dataclass(frozen=True, slots=True)
class _Connected:
    session: docker.APIClient
    base: str


class EngineClient:
    """Requests to the Engine at ``host`` (DOCKER_HOST's notation), safe for many threads.

    Nothing is asked before the first request; the API version is negotiated then.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        timeout: float = READ_TIMEOUT,
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self.host = self._environ["DOCKER_HOST"] = host or self._environ.get("DOCKER_HOST") or _DEFAULT_HOST
        self._timeout = timeout
        self._api: _Connected | None = None
        self._lock = threading.Lock()

    @property
    def api_version(self) -> str:
        """The API version both sides speak."""
        return self._connected().base.rpartition("/v")[2]

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout: float | None = None,
    ) -> Any:
        """The JSON answer (None when empty). Raises ``RefusedError`` and ``DockerUnavailable``."""
        response = self._send(method, path, params, body, timeout or self._timeout, stream=False)
        try:
            return response.json() if response.content else None
        except ValueError as exc:
            raise DockerUnavailable("The Docker Engine gave an answer that is not JSON") from exc

    def stream(self, path: str, *, params: Mapping[str, Any], endless: bool) -> Stream:
        """An answer read as it comes; an ``endless`` one may be silent for as long as it likes."""
        response = self._send("GET", path, params, None, self._timeout, stream=True)
        return Stream(response, None if endless else _BODY_TIMEOUT)

    def post_stream(self, path: str, *, body: Any, timeout: float) -> Stream:
        """The answer to a POST, read as it comes; it may be silent for ``timeout`` seconds."""
        return Stream(self._send("POST", path, None, body, timeout, stream=True), timeout)

    def forget(self) -> None:
        """Negotiate again at the next request: the Engine behind the socket may be another one."""
        with self._lock:
            api, self._api = self._api, None
        if api is not None:
            api.session.close()

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: Any,
        timeout: float,
        *,
        stream: bool,
    ) -> requests.Response:
        for last in (method != "GET", True):
            try:
                api = self._connected()
                response: requests.Response = api.session.request(
                    method,
                    f"{api.base}{path}",
                    params=params,
                    json=body,
                    timeout=(CONNECT_TIMEOUT, timeout),
                    stream=stream,
                )
                break
            except requests.Timeout as exc:
                raise DockerUnavailable(
                    f"The Docker Engine did not answer within {timeout:g} seconds"
                ) from exc
            except _BROKEN as exc:
                # A kept connection may have died with the Engine it led to; one more try is a new one.
                if last or _TIMED_OUT in str(exc).lower():
                    raise unreachable(exc) from exc
        if response.status_code >= _ERROR:
            raise RefusedError(response.status_code, _message(response))
        return response

    def _connected(self) -> _Connected:
        api = self._api
        if api is None:
            # Not under the lock: one Engine that hangs must not make callers wait for one another.
            api = self._negotiated(self._session())
            with self._lock:
                api = self._api = self._api or api
        return api

    def _session(self) -> docker.APIClient:
        options: dict[str, Any] = {"timeout": self._timeout, "max_pool_size": _POOL}
        options.update(docker.utils.kwargs_from_env(environment=self._environ))
        session = docker.APIClient(version=docker.constants.MINIMUM_DOCKER_API_VERSION, **options)
        if self.host.startswith("unix://"):
            session.mount("http+docker://", adapter(self.host, timeout=self._timeout, pool=_POOL))
            session.trust_env = False  # proxies and netrc mean nothing to a socket, and cost time
        return session

    def _negotiated(self, session: docker.APIClient) -> _Connected:
        try:
            answer = session.get(
                f"{session.base_url}/version", timeout=(CONNECT_TIMEOUT, self._timeout)
            ).json()
            offered = [_numbers(answer[name]) for name in ("MinAPIVersion", "ApiVersion")]
        except (KeyError, TypeError, ValueError) as exc:
            session.close()
            raise DockerUnavailable("What answers is not a Docker Engine") from exc
        except BaseException:
            session.close()
            raise
        least, most = offered
        version = max(least, min(most, _KNOWN_API))
        return _Connected(session, f"{session.base_url}/v{version[0]}.{version[1]}")


def unreachable(exc: BaseException) -> DockerUnavailable:
    """The error for a connection that failed, with the operating system's reason but no path."""
    found = _os_error(exc)
    if _TIMED_OUT in str(exc).lower():
        reason = "it did not answer in time"
    elif found is not None and found.errno:
        reason = os.strerror(found.errno).lower()
    else:
        reason = "the connection broke"
    return DockerUnavailable(f"The Docker Engine cannot be reached ({reason}). Is it running?")


def _os_error(exc: BaseException | None) -> OSError | None:
    seen = 0
    while exc is not None and seen < 10:  # noqa: PLR2004 - chains are short, but may be circular
        inner = [arg for arg in exc.args if isinstance(arg, BaseException)]
        if isinstance(exc, OSError) and not isinstance(exc, requests.RequestException):
            return exc
        exc = inner[0] if inner else exc.__cause__ or exc.__context__
        seen += 1
    return None


def _message(response: requests.Response) -> str:
    try:
        text = str(response.json()["message"])
    except (ValueError, KeyError, TypeError, requests.RequestException):
        text = f"status {response.status_code}"
    response.close()
    return text.strip() or f"status {response.status_code}"


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Whatever the Engine refuses inside, and nobody turned into something better, is a ``Failed``."""
    try:
        yield
    except RefusedError as exc:
        raise engine_refusal(exc.message) from exc


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)
