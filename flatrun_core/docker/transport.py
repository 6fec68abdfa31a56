"""docker-py's way to a socket, with one pool for all and without its leak."""

import contextlib
import socket
from collections.abc import Mapping
from typing import Any

from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool


class _Connection(UnixHTTPConnection):
    """Closes its socket when nobody listens at the other end, which docker-py leaves to the collector."""

    def connect(self) -> None:
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.settimeout(self.timeout)
            sock.connect(self.unix_socket)
            self.sock = sock
            stack.pop_all()


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:
        arguments: Any = (self.base_url, self.socket_path, self.timeout)
        return _Connection(*arguments)


class SocketAdapter(UnixHTTPAdapter):
    """Requests to the socket that ``host`` names (``unix:///var/run/docker.sock``)."""

    def get_connection(self, url: Any, proxies: Mapping[str, str] | None = None) -> _Pool:
        """The one pool of connections; docker-py makes one for each address and so keeps none alive."""
        with self.pools.lock:
            pool: _Pool | None = self.pools.get("")
            if pool is None:
                pool = _Pool(url, self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[""] = pool
            return pool


def adapter(host: str, *, timeout: float, pool: int) -> SocketAdapter:
    """The adapter for a host that is a socket; ``pool`` connections are kept at most."""
    options: dict[str, Any] = {"timeout": timeout, "max_pool_size": pool}
    return SocketAdapter(host.replace("unix://", "http+unix://", 1), **options)
