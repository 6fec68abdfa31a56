"""What other plugins add to the configuration of nginx, through ``flatrun_gather_nginx_fragments``."""

from dataclasses import dataclass
from typing import Final

# Where a fragment goes: before events and http; into http; into the server blocks of a site; into
# its locations; or a file of its own in the folder ``lua``, named by ``name``.
PLACES: Final = ("main", "http", "server", "location", "file")

# The folder of ``file`` fragments as nginx sees it. Texts name files by this path; while a new set
# is tested, it stands for the staged files.
LUA_FOLDER: Final = "/etc/nginx/lua/"


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of configuration.

    ``site`` limits server and location fragments to one deployment; ``path`` a location fragment to
    one route. ``text`` is nginx syntax, complete statements only, whose values have been checked by
    whoever made it. ``lua`` says that it needs the Lua module. A challenge of a certificate
    authority is answered before any fragment of a site is looked at.
    """

    place: str
    text: str
    site: str | None = None
    path: str | None = None
    name: str = ""
    lua: bool = False
