"""Hello: greets people, remembers whom, and notices new deployments."""

from collections.abc import Sequence
from datetime import timedelta

from peewee import Model

from flatrun_core import HOOK_API, Blueprint, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.auth import Permission
from flatrun_core.ports.deployments import DeploymentEvent
from flatrun_core.ports.scheduling import Timer
from flatrun_core.ports.settings import SettingsGroup
from flatrun_core.ports.storage import DATABASE
from flatrun_hello.blueprint import blp
from flatrun_hello.models import Greeting
from flatrun_hello.service import HELLO, HelloService
from flatrun_hello.settings import HelloSettings, HelloSettingsSchema

PLUGIN = PluginInfo(
    slug="hello",
    hook_api=HOOK_API,
    display_name="Hello",
    type="widget",
    category="examples",
    uses=("deployments",),
)


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer the service."""
    ctx.services.provide(
        HELLO, lambda: HelloService(ctx.services.get(DATABASE), lambda: ctx.settings(HelloSettings))
    )


@hookimpl
def flatrun_register_blueprints() -> Sequence[Blueprint]:
    """The routes below ``/api/hello``."""
    return [blp]


@hookimpl
def flatrun_register_permissions() -> Sequence[Permission]:
    """Who may read and who may greet."""
    return [
        Permission("hello:read", "See greetings", ("operator", "viewer")),
        Permission("hello:write", "Greet people", ("operator",)),
    ]


@hookimpl
def flatrun_register_settings() -> Sequence[SettingsGroup]:
    """The group ``hello``."""
    return [SettingsGroup("hello", HelloSettingsSchema)]


@hookimpl
def flatrun_register_models() -> Sequence[type[Model]]:
    """The table of greetings."""
    return [Greeting]


@hookimpl
def flatrun_register_timers(ctx: PluginContext) -> Sequence[Timer]:
    """Forget old greetings once a day."""
    return [Timer("hello.forget", timedelta(days=1), lambda: ctx.services.get(HELLO).forget_old())]


@hookimpl(optionalhook=True)
def flatrun_on_deployment_created(ctx: PluginContext, event: DeploymentEvent) -> None:
    """Greet every new deployment."""
    ctx.services.get(HELLO).greet(event.name)
