"""The running panel's HTTP API, as the commands use it."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that `flatrun` starts at once

import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    import requests

    from flatrun_core.settings import ApiSettings

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 60.0
# A little above the longest a compose command may take.
ACTION_TIMEOUT = 660.0
# A stream sends a comment each 15 s; after three missing ones the panel is gone.
STREAM_TIMEOUT = 50.0

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - only looked up

NO_KEY = (
    "The panel wants an API key: give one with --key or $FLATRUN_API_KEY, "
    "or use a flatrun.yml that has one in auth.api_keys"
)


class ApiError(click.ClickException):
    """The panel refused, or was not reached (``status`` 0); ``body`` is its whole answer."""

    def __init__(
        self, message: str, *, status: int = 0, code: str = "", body: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.body: Mapping[str, Any] = body or {}


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream, its data parsed."""

    name: str
    data: Any


class Client:
    """Asks the panel at ``url``. Every failure is an ``ApiError`` with one sentence."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        self._key = key
        self._http: requests.Session | None = None

    def get(self, path: str, **query: Any) -> Any:
        """The parsed answer; booleans in the query become true and false, None is left out."""
        return self._answer("GET", path, READ_TIMEOUT, params=_query(query))

    def post(self, path: str, body: Any = None, *, timeout: float = ACTION_TIMEOUT) -> Any:
        """The parsed answer to a POST, with a JSON body if one is given."""
        return self._answer("POST", path, timeout, json=body)

    def put(self, path: str, body: Any, *, timeout: float = ACTION_TIMEOUT) -> Any:
        """The parsed answer to a PUT."""
        return self._answer("PUT", path, timeout, json=body)

    def delete(self, path: str, **query: Any) -> Any:
        """The parsed answer to a DELETE."""
        return self._answer("DELETE", path, ACTION_TIMEOUT, params=_query(query))

    def stream(self, path: str, **query: Any) -> Iterator[Event]:
        """Server-sent events until ``end``, which is the last one; an ``error`` event raises."""
        import requests

        with self._send("GET", path, STREAM_TIMEOUT, params=_query(query), stream=True) as response:
            try:
                # None: each piece as it arrives, where a number would wait for that many bytes.
                for event in parse_events(response.iter_lines(chunk_size=None)):
                    if event.name == "error":
                        raise _refusal(response.status_code, event.data)
                    yield event
                    if event.name == "end":
                        return
            except requests.RequestException as exc:
                raise ApiError(f"The connection to the panel at {self.url} was lost") from exc

    def _answer(self, method: str, path: str, timeout: float, **options: Any) -> Any:
        response = self._send(method, path, timeout, **options)
        try:
            return response.json()
        except ValueError as exc:
            raise ApiError(
                f"What answers at {self.url} is not the panel", status=response.status_code
            ) from exc

    def _send(self, method: str, path: str, timeout: float, **options: Any) -> "requests.Response":
        import requests

        self._http = self._http or _http(self.url, self._key)
        try:
            response = self._http.request(
                method, self.url + path, timeout=(CONNECT_TIMEOUT, timeout), allow_redirects=False, **options
            )
        except requests.exceptions.SSLError as exc:
            raise ApiError(f"The TLS certificate at {self.url} is not accepted: {exc}") from exc
        except requests.exceptions.ReadTimeout as exc:
            raise ApiError(f"The panel at {self.url} did not answer within {timeout:.0f} s") from exc
        except (requests.ConnectionError, requests.Timeout) as exc:
            raise ApiError(f"The panel does not answer at {self.url}: start it with `flatrun serve`") from exc
        except (requests.RequestException, UnicodeError) as exc:
            raise ApiError(f"The panel cannot be asked at {self.url}: {exc}") from exc
        if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
            raise self._refused(response)
        return response

    def _refused(self, response: "requests.Response") -> ApiError:
        try:
            body = response.json()
        except ValueError:
            body = None
        if response.status_code == HTTPStatus.UNAUTHORIZED and not self._key:
            return ApiError(NO_KEY, status=401, code="AUTH_REQUIRED")
        if not isinstance(body, dict) or not isinstance(body.get("error"), str):
            return ApiError(
                f"What answers at {self.url} is not the panel (HTTP {response.status_code})",
                status=response.status_code,
            )
        return _refusal(response.status_code, body)


def local_url(api: "ApiSettings") -> str:
    """Where a panel with these settings answers on this machine."""
    host = _EVERYWHERE.get(api.host, api.host)
    return f"http://[{host}]:{api.port}" if ":" in host else f"http://{host}:{api.port}"


def parse_events(lines: Iterable[bytes]) -> Iterator[Event]:
    """Server-sent events from their lines; comments and unknown fields are passed over."""
    name = "message"
    data: list[str] = []
    for raw in lines:
        line = raw.decode("utf-8", "replace")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Event(name, _parsed("\n".join(data)))
            name, data = "message", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _refusal(status: int, body: Any) -> ApiError:
    known = body if isinstance(body, dict) else {}
    return ApiError(str(known.get("error", body)), status=status, code=str(known.get("code", "")), body=known)


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }


def _http(url: str, key: str) -> "requests.Session":
    import requests

    http = requests.Session()
    http.headers["User-Agent"] = "flatrun"
    # A proxy of the environment is no way to this machine.
    http.trust_env = not _loopback(urlsplit(url).hostname or "")

    def with_key(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if key:
            request.headers["Authorization"] = f"Bearer {key}"
        return request

    # As ``auth``, not as a header: a .netrc would replace the header.
    http.auth = with_key
    return http


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
