"""The Unix socket by which the configured proxy reaches the panel, beside its TCP port."""

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from waitress.server import UnixWSGIServer

from flatrun_core.api.client_address import BY_SOCKET
from flatrun_core.disk import give_to_owner_of
from flatrun_core.errors import StartupError
from flatrun_core.locks import FileLock
from flatrun_core.ports.proxy import PANEL_SOCKET_FOLDER, PANEL_SOCKET_NAME

# What stands for the address of whoever comes this way; no address, so that no setting can name it.
PEER: Final = "unix"

_FOLDER_MODE: Final = 0o711
_SOCKET_MODE: Final = 0o666
_UNFINISHED: Final = f"{PANEL_SOCKET_NAME}.new"
_BACKLOG: Final = 1024


class PanelSocket:
    """The socket in ``PANEL_SOCKET_FOLDER`` below the deployments root.

    Everybody may connect to it; the folder above, which is the panel's alone, and what is mounted
    into containers decide who gets there. While one panel has it, no other takes it.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / PANEL_SOCKET_FOLDER
        self.path = self._folder / PANEL_SOCKET_NAME
        # Outside the folder: a container that has it mounted must not be able to hold the lock.
        self._lock = FileLock(self._folder.parent / "panel-socket.lock")
        self._handle: int | None = None
        self._inode = 0

    def open(self) -> socket.socket:
        """The socket, which listens; what a panel that was killed left there is replaced.

        Raises ``OSError``, and ``StartupError`` when another panel has it.
        """
        if not self._lock.acquire():
            raise StartupError("another panel that runs has it")
        try:
            self._handle = _opened(self._folder)
            return self._bound(self._handle)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take the socket away, if it is this panel's; again is no error."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                found = os.stat(PANEL_SOCKET_NAME, dir_fd=self._handle, follow_symlinks=False)
                if found.st_ino == self._inode:
                    os.unlink(PANEL_SOCKET_NAME, dir_fd=self._handle)
            os.close(self._handle)
            self._handle = None
        self._lock.release()

    def _bound(self, folder: int) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_UNFINISHED, dir_fd=folder)
            # By the open folder: an address holds 107 bytes, and the folder's path may be longer.
            made.bind(f"/proc/self/fd/{folder}/{_UNFINISHED}")
            os.chmod(_UNFINISHED, _SOCKET_MODE, dir_fd=folder)
            made.listen(_BACKLOG)
            self._inode = os.stat(_UNFINISHED, dir_fd=folder, follow_symlinks=False).st_ino
            os.rename(_UNFINISHED, PANEL_SOCKET_NAME, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            made.close()
            raise
        return made


def _opened(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = not path.exists()
    path.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if made:
            give_to_owner_of(path.parent, handle)
        os.fchmod(handle, _FOLDER_MODE)
    except BaseException:
        os.close(handle)
        raise
    return handle


class SocketListener(UnixWSGIServer):  # type: ignore[misc]
    """Waitress on the panel's socket; what it takes is marked as coming from there."""

    def __init__(self, application: Callable[..., Any], listening: socket.socket, **options: Any) -> None:
        super().__init__(_marked(application), _sock=listening, bind_socket=False, **options)

    def getsockname(self) -> tuple[str, str]:
        """See waitress; what a request without a Host is told of the server."""
        return ("localhost", "80")

    def fix_addr(self, _address: Any) -> tuple[str, int]:
        """See waitress."""
        return (PEER, 0)


def _marked(application: Callable[..., Any]) -> Callable[..., Any]:
    """The application as it sees requests of the socket: no header can set what is set here."""

    def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ[BY_SOCKET] = True
        return application(environ, start_response)

    return wsgi
