"""What an image's nginx is: its version, its paths, and whether it knows Lua."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from flatrun_core import Conflict, Failed
from flatrun_core.ports.programs import Completed

_VERSION: Final = re.compile(r"^nginx version: \S+?/(\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_ARGUMENTS: Final = re.compile(r"^configure arguments: (.*)$", re.MULTILINE)
_HTTP2_DIRECTIVE: Final = (1, 25, 1)
OLDEST: Final = (1, 19, 4)
UNANSWERED: Final = "NGINX_IMAGE_UNANSWERED"
# What `ls` ends with and says, the one of busybox, too.
_LS_FAILED: Final = (1, 2)
_ABSENT: Final = "No such file or directory"
NEEDED_MODULES: Final = ("ndk_http_module.so", "ngx_http_lua_module.so")

# Runs a program of the image, given as an argument list.
Run = Callable[[Sequence[str]], Completed]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """``lua`` is ``built-in``, ``module``, or empty where there is none; ``mime`` is the file of types."""

    version: tuple[int, int, int]
    conf_path: str
    modules_path: str = ""
    lua: str = ""
    mime: str = ""

    @property
    def http2_directive(self) -> bool:
        """Whether HTTP/2 is a statement of its own and not a word of ``listen``."""
        return self.version >= _HTTP2_DIRECTIVE

    def modules(self) -> tuple[str, ...]:
        """Files to load before Lua is known."""
        if self.lua != "module":
            return ()
        return tuple(f"{self.modules_path}/{name}" for name in NEEDED_MODULES)

    def stored(self) -> Mapping[str, Any]:
        """As JSON."""
        return asdict(self)


# What is assumed of an image that cannot be asked: the older syntax is understood by all.
UNKNOWN: Final = ImageFacts((0, 0, 0), "/etc/nginx/nginx.conf", lua="built-in")


def ask(run: Run, image: str) -> ImageFacts:
    """Ask an image's nginx.

    Raises ``Failed`` ``NGINX_IMAGE_UNSUITABLE`` where there is no nginx in it, or a too old one, and
    ``NGINX_IMAGE_UNANSWERED`` where an answer is missing.
    """
    told = run(("nginx", "-V"))
    version = _VERSION.search(told.output)
    if told.returncode != 0 or version is None:
        raise Failed(
            f"The image {image} has no nginx that can be asked for its version", code="NGINX_IMAGE_UNSUITABLE"
        )
    number = (int(version[1]), int(version[2]), int(version[3]))
    if number < OLDEST:
        shown, oldest = (".".join(map(str, one)) for one in (number, OLDEST))
        raise Failed(
            f"The image {image} has nginx {shown}; {oldest} or later is needed", code="NGINX_IMAGE_UNSUITABLE"
        )
    return _complete(run, number, told.output)


def restored(stored: Mapping[str, Any]) -> ImageFacts | None:
    """What ``stored`` gave, or None when it is something else."""
    try:
        first, second, third = stored["version"]
        return ImageFacts(
            (int(first), int(second), int(third)),
            *(str(stored[key]) for key in ("conf_path", "modules_path", "lua", "mime")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def need_lua(facts: ImageFacts, image: str) -> None:
    """Refuse an image without Lua: 409 ``NGINX_LUA_MISSING``."""
    if not facts.lua:
        raise Conflict(
            f"The image {image} has no Lua module, which an active plugin needs. Set nginx.image to one "
            "that has it, such as openresty/openresty:alpine.",
            code="NGINX_LUA_MISSING",
        )


def _complete(run: Run, version: tuple[int, int, int], told: str) -> ImageFacts:
    words = _ARGUMENTS.search(told)
    arguments = shlex.split(words[1]) if words else []
    options = dict(word.partition("=")[::2] for word in arguments if "=" in word)
    prefix = options.get("--prefix", "/usr/local/nginx")
    conf = str(PurePosixPath(prefix) / options.get("--conf-path", "conf/nginx.conf"))
    modules = str(PurePosixPath(prefix) / options.get("--modules-path", "modules"))
    beside = _listed(run, str(PurePosixPath(conf).parent))
    found = _listed(run, modules)
    # Where Lua is built in, its sources were added to those of nginx.
    built_in = any(
        "lua" in PurePosixPath(word.partition("=")[2]).name.lower()
        for word in arguments
        if word.startswith("--add-module=")
    )
    dynamic = all(name in found for name in NEEDED_MODULES)
    mime = str(PurePosixPath(conf).parent / "mime.types") if "mime.types" in beside else ""
    return ImageFacts(version, conf, modules, "built-in" if built_in else "module" if dynamic else "", mime)


def _listed(run: Run, folder: str) -> Sequence[str]:
    """The names in a folder of the image; none where it says itself that there is no such folder."""
    done = run(("ls", "-1", folder))
    if done.returncode == 0:
        return done.stdout.split()
    if done.returncode in _LS_FAILED and _ABSENT in done.output:
        return ()
    raise Failed(
        f"The image's folder {folder} could not be listed: {done.output.strip() or done.returncode}",
        code=UNANSWERED,
    )
