"""Builds a panel from plugins: set up, collect, validate, register, and anew without whoever fails.

Every attempt starts from nothing (a new plugin manager, new services, a new Flask application), so
nothing half made is ever undone by hand: an application on which a registration failed is dropped.
"""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from flask import Flask

from flatrun_core.access import declared
from flatrun_core.errors import StartupError
from flatrun_core.hooks import PluginFailure, Results, describe
from flatrun_core.plugins import CORE, PluginRecord, first_party, order
from flatrun_core.ports.auth import Access, KnownPermission
from flatrun_core.ports.settings import SettingsGroup

log = logging.getLogger(__name__)

T = TypeVar("T")
_PARAMETER = re.compile(r"<[^<>]+>")
_LOGICAL = re.compile(r"^[a-z][a-z0-9_]*$")


def assemble(
    records: Sequence[PluginRecord],
    attempt: Callable[[Sequence[PluginRecord]], T],
    *,
    strict: bool,
    required: Iterable[str],
) -> T:
    """Call ``attempt`` with the active plugins in start order until none of them fails.

    With ``strict``, or for a plugin in ``required``, a failure stops the start instead.
    """
    fatal = set(required)
    while True:
        _check_fatal(records, strict=strict, fatal=fatal)
        try:
            return attempt(order(records))
        except PluginFailure as failure:
            _take_out(records, failure)


def _take_out(records: Sequence[PluginRecord], failure: PluginFailure) -> None:
    for slug in (failure.slug, *failure.also):
        record = next((record for record in records if record.slug == slug), None)
        if record is None:
            raise StartupError(f"the core cannot start: {failure.reason}") from failure
        log.debug("plugin %s taken out", slug, exc_info=failure)
        record.fail(failure.reason)


def _check_fatal(records: Sequence[PluginRecord], *, strict: bool, fatal: set[str]) -> None:
    for slug in sorted(fatal - {record.slug for record in records}):
        raise StartupError(f"plugin '{slug}' is named in plugins.required but is not installed")
    for record in records:
        broken = record.status in ("failed", "unavailable")
        if (strict and broken) or (record.slug in fatal and not record.active):
            raise StartupError(
                f"plugin '{record.slug}' is {record.status}: {record.reason}. "
                "Disable it in plugins.disabled, or start without plugins: flatrun serve --no-plugins"
            )


def unique(results: Results, what: str) -> list[Any]:
    """Descriptors whose names must not clash; a clash fails the later plugin and names both."""
    owners: dict[str, str] = {}
    for slug, item in results:
        if item.name in owners:
            raise PluginFailure(slug, f"{what} '{item.name}' is already that of plugin '{owners[item.name]}'")
        owners[item.name] = slug
    return [item for _, item in results]


def known_permissions(results: Results, records: Sequence[PluginRecord]) -> list[KnownPermission]:
    """All permissions; an equal one may come twice, a different one of the same name may not.

    Of several plugins with the same one, it is that of the plugin it is named after, else the core's,
    else the first's.
    """
    allowed = {r.slug: {r.slug, *(r.info.permissions if r.info else ())} for r in records}
    found: dict[str, KnownPermission] = {}
    for slug, permission in results:
        prefix = permission.name.partition(":")[0]
        if slug != CORE and prefix not in allowed[slug]:
            raise PluginFailure(slug, f"permission '{permission.name}' has another plugin's prefix")
        roles = ("admin", *(role for role in permission.roles if role != "admin"))
        known = KnownPermission(permission.name, permission.description, roles, slug)
        other = found.setdefault(permission.name, known)
        if set(other.roles) != set(roles):
            raise PluginFailure(
                slug, f"permission '{permission.name}' differs from that of plugin '{other.plugin}'"
            )
        if other.plugin not in (slug, prefix) and slug in (prefix, CORE):
            found[permission.name] = known
    return list(found.values())


def check_groups(results: Results, records: Sequence[PluginRecord]) -> list[SettingsGroup]:
    """All settings groups; a group belongs to the plugin of its name or one that claims it."""
    claimed = {r.slug: {r.slug, *(r.info.sections if r.info else ())} for r in records}
    for slug, group in results:
        if slug != CORE and group.name not in claimed[slug]:
            raise PluginFailure(slug, f"settings group '{group.name}' is not in PLUGIN.sections")
    return unique(results, "settings group")


def check_models(results: Results) -> None:
    """Tables carry their plugin's name, so that whose they are shows in the database."""
    for slug, model in results:
        table = model._meta.table_name
        if not table.startswith(f"{slug}_"):
            raise PluginFailure(slug, f"table '{table}' must be called '{slug}_...'")
        if not _LOGICAL.match(table):
            raise PluginFailure(slug, f"table '{table}' is not a plain lower-case name")


def migrations_folder(record: PluginRecord) -> Path | None:
    """Where a plugin's migration scripts are, or None when it has none."""
    if record.module is None or record.info is None:
        return None
    package = getattr(record.module, "__package__", "")
    if not package:
        return None
    folder = Path(str(resources.files(package))) / record.info.migrations
    return folder if folder.is_dir() else None


class RouteTable:
    """The routes of one application as they are registered: whose each is and what it requires."""

    def __init__(
        self, app: Flask, records: Sequence[PluginRecord], permissions: Iterable[KnownPermission]
    ) -> None:
        self._app = app
        self._prefixes = {r.slug: (r.slug, *(r.info.prefixes if r.info else ())) for r in records}
        self._permissions = {permission.name for permission in permissions}
        self._owners: dict[tuple[str, str], str] = {}
        self._first_party = first_party()
        self._known_rules = 0
        self.accesses: dict[tuple[str, str], tuple[str, Access]] = {}

    def register(self, slug: str, register: Callable[[], None]) -> None:
        """Register a blueprint and check every route it brought."""
        before = {id(rule) for rule in self._app.url_map.iter_rules()}
        try:
            register()
        except Exception as exc:
            raise PluginFailure(slug, f"its blueprint cannot be registered: {describe(exc)}", exc) from exc
        for rule in self._app.url_map.iter_rules():
            if id(rule) not in before:
                self._check(slug, rule)

    def _check(self, slug: str, rule: Any) -> None:
        self._check_address(slug, rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            self._claim(slug, rule.rule, method)
            view: Any = self._app.view_functions[rule.endpoint]
            handler = getattr(getattr(view, "view_class", None), method.lower(), None)
            access = declared(handler) or declared(view)
            if access is None:
                raise PluginFailure(
                    slug,
                    f"{method} {rule.rule} declares no access; mark it @access(...), @authenticated, "
                    "@internal or @public",
                )
            self._check_access(slug, f"{method} {rule.rule}", access, rule.arguments)
            self.accesses[rule.rule, method.lower()] = (slug, access)

    def _check_address(self, slug: str, address: str) -> None:
        if slug == CORE:
            return
        allowed = [f"/api/{prefix}" for prefix in self._prefixes[slug]]
        if not any(address == prefix or address.startswith(prefix + "/") for prefix in allowed):
            raise PluginFailure(
                slug, f"route {address} is below none of {', '.join(allowed)} (PLUGIN.prefixes)"
            )
        if address.endswith("/"):
            raise PluginFailure(slug, f"route {address} must not end with a slash")

    def _claim(self, slug: str, address: str, method: str) -> None:
        key = (_PARAMETER.sub("<>", address), method)
        owner = self._owners.setdefault(key, slug)
        if owner == slug:
            return
        reason = f"{method} {address} is claimed by both plugin '{owner}' and plugin '{slug}'"
        if owner == CORE or owner in self._first_party:
            raise PluginFailure(slug, reason)
        if slug in self._first_party:
            raise PluginFailure(owner, reason)
        raise PluginFailure(slug, reason, also=(owner,))

    def _check_access(self, slug: str, route: str, access: Access, arguments: set[str]) -> None:
        unknown = set(access.permissions) - self._permissions
        if unknown:
            raise PluginFailure(
                slug, f"{route} requires unregistered permissions: {', '.join(sorted(unknown))}"
            )
        if access.level is not None and access.deployment is None and "name" not in arguments:
            raise PluginFailure(
                slug, f"{route} declares a level but has neither <name> nor a deployment resolver"
            )
