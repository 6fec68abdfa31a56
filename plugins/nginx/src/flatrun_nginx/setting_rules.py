"""Rules for settings whose values enter nginx's configuration or the container's mounts."""

import re
from pathlib import Path, PurePosixPath
from typing import Any, Final

from flatrun_core import fields
from flatrun_nginx.layout import CERTS, CONF, LUA, PANEL_FOLDER, SSL

_SIZE: Final = re.compile(r"([0-9]{1,19})([kKmMgG]?)")
_SCALES: Final = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
# nginx counts in signed 64 bits.
_LARGEST: Final = 2**63 - 1
_CONTAINER_PATH: Final = re.compile(r"(/[A-Za-z0-9._-]+)+")
_CONF_NAME: Final = "conf.d"

# A folder that is mounted over one of these, or over what holds it or stands in it, keeps nginx from
# starting or from seeing its files.
_TAKEN: Final = tuple(
    PurePosixPath(path)
    for path in (
        *(CONF, CERTS, SSL, LUA, PANEL_FOLDER),
        *("/etc", "/proc", "/sys", "/dev", "/run", "/var/run", "/var/lib/nginx", "/var/cache/nginx"),
        *("/var/log", "/tmp", "/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib"),  # noqa: S108 - compared only
        *("/usr/local/bin", "/usr/local/sbin", "/usr/local/lib", "/usr/local/nginx/conf"),
        *("/usr/local/nginx/sbin", "/usr/local/openresty/bin", "/usr/local/openresty/luajit"),
        *("/usr/local/openresty/lualib", "/usr/local/openresty/nginx/conf"),
        *("/usr/local/openresty/nginx/sbin", "/usr/local/openresty/nginx/logs"),
    )
)


def webroot(value: str) -> None:
    """Refuse a place for ``html`` in the container that would cover what nginx needs."""
    if not _CONTAINER_PATH.fullmatch(value) or {".", ".."} & set(value.split("/")):
        raise fields.ValidationError("Must be a plain absolute path.")
    path = PurePosixPath(value)
    for one in _TAKEN:
        if path == one or path in one.parents or one in path.parents:
            raise fields.ValidationError(
                f"Must be a folder that the container needs for nothing else; {one} is not."
            )


def config_path(value: Any) -> None:
    """Refuse a folder of generated files that is not called ``conf.d``, or has a name that breaks a line."""
    if not str(value):
        return
    path = Path(value)
    if not str(path).isprintable() or ".." in path.parts:
        raise fields.ValidationError("Must be a path without `..` and control characters.")
    if path.name != _CONF_NAME or path.parent == path.parent.parent:
        raise fields.ValidationError("Must end with /conf.d, in a folder of nginx's own.")


def size(value: str) -> None:
    """Refuse what is no size, or a larger one than nginx can count."""
    found = _SIZE.fullmatch(value)
    if found is None:
        raise fields.ValidationError('Must be a size such as "100m"; 0 is no limit.')
    if int(found[1]) * _SCALES[found[2].lower()] > _LARGEST:
        raise fields.ValidationError("Is more than nginx can count; 0 is no limit.")
