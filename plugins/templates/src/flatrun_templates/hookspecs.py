"""The hook that other plugins bring templates by; implement it with ``@hookimpl(optionalhook=True)``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flatrun_core import hookspec

if TYPE_CHECKING:
    from flatrun_core import PluginContext


class ShippedTemplate(Protocol):
    """A template in a plugin's package: its id, and the folder with its files."""

    @property
    def name(self) -> str:
        """The id, such as ``my-shop``."""

    @property
    def folder(self) -> Path:
        """A folder with ``docker-compose.yml`` and ``metadata.yml``."""


@hookspec
def flatrun_register_templates(ctx: "PluginContext") -> "Sequence[ShippedTemplate]":
    """Templates that a plugin ships; they are treated like the built-in ones.

    Called once, at assembly. Two of one id stop the start, naming both plugins.
    """
