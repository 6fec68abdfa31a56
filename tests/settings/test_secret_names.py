"""Every secret of the settings has a name by which the audit knows to hide it."""

from collections.abc import Callable, Iterator

from flask import Flask
from marshmallow import Schema

from flatrun_audit.hiding import is_secret_name
from flatrun_core.fields import Nested, is_secret
from flatrun_core.plugins import discover


def secrets(schema: Schema) -> Iterator[str]:
    for name, field in schema.fields.items():
        if isinstance(field, Nested):
            yield from secrets(field.schema)
        elif is_secret(field):
            yield name


def test_the_audit_hides_every_secret_of_the_settings(flatrun_app: Callable[..., Flask]) -> None:
    app = flatrun_app(plugins=sorted(record.slug for record in discover()))
    groups = app.extensions["flatrun"].settings._groups
    found = {f"{group.name}.{name}" for group in groups for name in secrets(group.schema())}
    assert "certbot.eab_hmac_key" in found
    unknown = {name for name in found if not is_secret_name(name.rpartition(".")[2])}
    # The password within an address is hidden by its shape.
    assert unknown == {".database"}
