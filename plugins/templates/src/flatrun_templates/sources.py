"""The templates that come with programs: the built-in ones of this package, and those of other plugins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from flatrun_core import PluginContext, StartupError
from flatrun_templates.library import is_id

BUILT_IN: Final = Path(__file__).parent / "builtin"
# Named here, so that a start looks into no folder.
IDS: Final = (
    *("static", "wordpress", "ghost", "laravel", "nextjs", "astro", "node", "php", "nextcloud"),
    *("infra-nginx", "infra-mysql", "infra-mariadb", "infra-postgres", "infra-redis"),
)


def built_in() -> dict[str, Path]:
    """The built-in templates: id and folder."""
    return {name: BUILT_IN / name for name in IDS}


def collect_shipped(ctx: PluginContext) -> Mapping[str, Path]:
    """The built-in templates and those that plugins register; two of one id stop the start."""
    found = built_in()
    owners = dict.fromkeys(found, ctx.info.slug)
    for slug, template in ctx.hooks.register("flatrun_register_templates"):
        if not is_id(template.name):
            raise StartupError(f"plugin '{slug}' registers a template '{template.name}', which is no id")
        if template.name in found:
            other = owners[template.name]
            raise StartupError(f"template '{template.name}' is offered by both '{other}' and '{slug}'")
        owners[template.name] = slug
        found[template.name] = template.folder
    return found
