"""Deployment recipes of plugins: a validated config becomes a request for a deployment."""

from collections.abc import Mapping
from typing import Any

from flatrun_core import FlatrunError, Invalid, NotFound, PluginContext, ServiceKey, StartupError
from flatrun_core.ports.auth import Identity
from flatrun_core.ports.deployments import Created, Deployments, NewDeployment, Recipe
from flatrun_deployments.planning import of_rendered


class RecipeBook:
    """The recipes of every active plugin (``RECIPES``)."""

    def __init__(self, ctx: PluginContext, recipes: Mapping[str, Recipe], deployments: Deployments) -> None:
        self._ctx = ctx
        self._recipes = recipes
        self._deployments = deployments

    def config_schema(self, plugin: str) -> Mapping[str, Any] | None:
        """The JSON Schema of a plugin's recipe, or None when it has no recipe."""
        recipe = self._recipes.get(plugin)
        return recipe.config_schema if recipe is not None else None

    def create(
        self, plugin: str, name: str, config: Mapping[str, Any], identity: Identity, *, auto_start: bool
    ) -> tuple[Created, Mapping[str, str]]:
        """Create by recipe; the outcome and the credentials it made, which are shown only once.

        404 ``PLUGIN_NOT_FOUND``, 400 ``PLUGIN_NO_DEPLOYMENTS``, 400 for a config that the schema
        refuses, and everything that a creation may raise.
        """
        recipe = self._recipes.get(plugin)
        if recipe is None:
            raise self._no_recipe(plugin)
        check_config(recipe, config)
        rendered = recipe.render(name, config)
        new = of_rendered(NewDeployment(name=name, auto_start=auto_start), rendered)
        return self._deployments.create(new, identity), rendered.credentials

    def _no_recipe(self, plugin: str) -> FlatrunError:
        if not self._ctx.hooks.implemented_by(plugin):
            return NotFound("Plugin not found", code="PLUGIN_NOT_FOUND")
        return Invalid(f"The plugin '{plugin}' offers no deployments", code="PLUGIN_NO_DEPLOYMENTS")


RECIPE_BOOK: ServiceKey[RecipeBook] = ServiceKey("deployments.recipes", "deployments")


def collect_recipes(ctx: PluginContext) -> dict[str, Recipe]:
    """The recipes that plugins register; each plugin has one at most, under its own slug."""
    recipes: dict[str, Recipe] = {}
    for slug, recipe in ctx.hooks.register("flatrun_register_recipes"):
        if recipe.name != slug or slug in recipes:
            raise StartupError(
                f"plugin '{slug}' may register one recipe, named '{slug}'; not '{recipe.name}'"
            )
        recipes[slug] = recipe
    return recipes


def check_config(recipe: Recipe, config: Mapping[str, Any]) -> None:
    """Raise 400 when a config does not match the recipe's schema."""
    # Takes longer to import than the rest of this plugin, and most panels never need it.
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # noqa: PLC0415

    errors = Draft202012Validator(recipe.config_schema).iter_errors(dict(config))
    problems = sorted(errors, key=lambda error: error.json_path)
    if problems:
        where = ".".join(["config", *map(str, problems[0].absolute_path)])
        raise Invalid(f"{where}: {problems[0].message}")
