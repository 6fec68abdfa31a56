"""The pluggy markers every hook specification and implementation uses."""

from typing import Final

import pluggy

PROJECT: Final = "flatrun"
ENTRY_POINT_GROUP: Final = "flatrun.plugins"

# Raised only when a hook is removed or changes its meaning. A plugin written for another number
# is not loaded, with that as its reason.
HOOK_API: Final = 1

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
