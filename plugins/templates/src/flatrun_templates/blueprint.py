"""The routes below ``/api/templates``."""

from typing import Any

from flask import Response, jsonify
from flask.views import MethodView

from flatrun_core import Blueprint, access, service
from flatrun_templates import answers
from flatrun_templates.categories import Category
from flatrun_templates.schemas import (
    CategoriesAnswer,
    ComposeAnswer,
    ComposeQuery,
    RefreshAnswer,
    TemplatesAnswer,
)
from flatrun_templates.service import SERVICE

blp = Blueprint(
    "templates",
    __name__,
    url_prefix="/api/templates",
    description="Compose files with placeholders, from which deployments are made",
)


@blp.route("")
class Templates(MethodView):
    """All templates."""

    @access("templates:read", resource="template")
    @blp.response(200, TemplatesAnswer)
    def get(self) -> Response:
        """List the templates, highest priority first, then by name."""
        return jsonify({"templates": [answers.template(found) for found in service(SERVICE).list()]})


@blp.route("/categories")
class Categories(MethodView):
    """What templates are sorted by."""

    @access("templates:read", resource="template")
    @blp.response(200, CategoriesAnswer)
    def get(self) -> dict[str, list[Category]]:
        """List the categories with the number of their templates, empty ones included."""
        return {"categories": list(service(SERVICE).categories())}


@blp.route("/refresh")
class Refresh(MethodView):
    """The templates on disk, once more."""

    @access("templates:write", action="templates.refresh", resource="template")
    @blp.response(200, RefreshAnswer)
    def post(self) -> dict[str, Any]:
        """Read the templates anew and restore the built-in ones.

        An edited file of a built-in template is kept beside it as `.bak`.
        """
        return {"message": "Templates refreshed", "count": service(SERVICE).refresh()}


@blp.route("/<template_id>/compose")
class Compose(MethodView):
    """A template's compose text."""

    @access("templates:read", resource="template")
    @blp.arguments(ComposeQuery, location="query")
    @blp.raises(404)
    @blp.response(200, ComposeAnswer)
    def get(self, query: dict[str, str], template_id: str) -> dict[str, str]:
        """Show a template's compose text for a deployment, as the start of one of your own."""
        content = service(SERVICE).preview(template_id, query["name"])
        return {"template_id": template_id, "name": query["name"], "content": content}
