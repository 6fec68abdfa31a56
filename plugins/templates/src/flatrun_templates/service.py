"""What templates do: they are listed, shown, restored, and filled for a deployment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flatrun_core import Invalid, NotFound, PanelSettings, PluginContext, ServiceKey
from flatrun_core.ports.deployments import Rendered
from flatrun_core.ports.settings import SETTINGS
from flatrun_core.yaml_reader import YamlProblem
from flatrun_templates import categories, networks
from flatrun_templates.categories import Category
from flatrun_templates.copies import Copies
from flatrun_templates.library import Library, Template
from flatrun_templates.rendering import Networks, render
from flatrun_templates.substitution import check_name, fill_compose, network_name


class TemplateService:
    """Implements ``TEMPLATES`` on the folder ``<root>/.flatrun/templates`` and the shipped templates."""

    def __init__(self, ctx: PluginContext, shipped: Mapping[str, Path]) -> None:
        self._ctx = ctx
        self._copies = Copies(self.folder, shipped)
        self._library = Library(self.folder, shipped, self._copies)

    def folder(self) -> Path:
        """Where the templates of this panel are."""
        return Path(self._ctx.settings(PanelSettings).deployments_path) / ".flatrun" / "templates"

    def list(self) -> Sequence[Template]:
        """Every template, by priority and then by name."""
        return self._library.all()

    def categories(self) -> Sequence[Category]:
        """Every category with the number of its templates."""
        return categories.counted(template.metadata.category for template in self._library.all())

    def refresh(self) -> int:
        """Restore the shipped templates, read everything anew, and answer how many there are.

        Raises ``Failed`` ``STORAGE_FULL`` or ``STORAGE_FAILED``.
        """
        try:
            self._copies.restore()
        finally:
            self._library.forget()
        return len(self._library.all())

    def preview(self, template_id: str, name: str) -> str:
        """The compose text for a deployment of that name, PORT and DOMAIN left as they are.

        400 ``INVALID_NAME``, 404 ``TEMPLATE_NOT_FOUND``. Text that is not YAML is shown as it is.
        """
        check_name(name)
        content = self._get(template_id).content
        panel = self._networks()
        filled, spans = fill_compose(content, {"NAME": name, **panel.placeholders()})
        try:
            return networks.adapted(filled, spans, panel.proxy)
        except YamlProblem:
            return filled

    def render(self, template_id: str, values: Mapping[str, Any]) -> Rendered:
        """Fill a template: ``values`` are NAME, PORT, DOMAIN and ``env``.

        With ``files_only`` the compose text is empty and asks for no values. Raises 404
        ``TEMPLATE_NOT_FOUND``; 400 for a bad value, for a placeholder or required variable without
        one, for a file outside the deployment's folder (``INVALID_PATH``), and for compose text that
        cannot be read (``COMPOSE_INVALID``).
        """
        template = self._get(template_id)
        if template.metadata.refusal:
            message = f"The template '{template_id}' cannot be used: {template.metadata.refusal}"
            raise Invalid(message, code="INVALID_PATH")
        return render(template, values, self._networks())

    def _get(self, template_id: str) -> Template:
        template = self._library.get(template_id)
        if template is None:
            raise NotFound("Template not found", code="TEMPLATE_NOT_FOUND")
        return template

    def _networks(self) -> Networks:
        """The panel's networks, whose settings belong to the deployments plugin and exist with it only."""
        settings = self._ctx.services.find(SETTINGS)
        group = settings.published().get("infrastructure") if settings is not None else None
        named = group if isinstance(group, Mapping) else {}
        return Networks(
            network_name(named.get("default_proxy_network"), Networks.proxy),
            network_name(named.get("default_database_network"), Networks.database),
        )


# The service with what only this plugin's own views use beside the port.
SERVICE: ServiceKey[TemplateService] = ServiceKey("templates.service", "templates")
