"""What comes in and what goes out, as the API document shows it."""

from marshmallow import Schema

from flatrun_core import InputSchema, fields

COMPOSE_EXAMPLE = "name: ${NAME}\nservices:\n  web:\n    image: nginx:stable-alpine\n"


class MountSchema(Schema):
    """A place of a container whose data is to be kept."""

    id = fields.String(required=True, metadata={"example": "html"})
    name = fields.String(required=True, metadata={"example": "Pages"})
    container_path = fields.String(required=True, metadata={"example": "/usr/share/nginx/html"})
    description = fields.String(required=True)
    type = fields.String(required=True, metadata={"enum": ["file", "volume"], "example": "file"})
    required = fields.Boolean(required=True)
    user = fields.String(metadata={"description": "`uid:gid`, where the template says so"})
    subdirectories = fields.List(fields.String(), metadata={"description": "Where the template says so"})


class FileSchema(Schema):
    """A file that goes beside the compose file."""

    path = fields.String(required=True, metadata={"example": "html/index.html"})
    content = fields.String(required=True)


class TemplateSchema(Schema):
    """A template."""

    id = fields.String(required=True, metadata={"example": "static"})
    name = fields.String(required=True, metadata={"example": "Static site"})
    description = fields.String(required=True)
    icon = fields.String(required=True, metadata={"example": "pi pi-globe"})
    logo = fields.String(required=True, metadata={"description": "Address of a picture, or empty"})
    category = fields.String(required=True, metadata={"example": "basic"})
    priority = fields.Integer(required=True, metadata={"description": "Higher ones come first"})
    container_port = fields.Integer(required=True, allow_none=True, metadata={"example": 80})
    mounts = fields.List(fields.Nested(MountSchema), required=True)
    files = fields.List(fields.Nested(FileSchema), required=True)
    content = fields.String(
        required=True,
        metadata={"description": "Compose text with its placeholders", "example": COMPOSE_EXAMPLE},
    )


class TemplatesAnswer(Schema):
    """Every template."""

    templates = fields.List(fields.Nested(TemplateSchema), required=True)


class CategorySchema(Schema):
    """A category."""

    id = fields.String(required=True, metadata={"example": "application"})
    name = fields.String(required=True, metadata={"example": "Applications"})
    icon = fields.String(required=True, metadata={"example": "pi pi-desktop"})
    priority = fields.Integer(required=True, metadata={"example": 100})
    count = fields.Integer(required=True, metadata={"description": "Templates in it", "example": 2})


class CategoriesAnswer(Schema):
    """Every category."""

    categories = fields.List(fields.Nested(CategorySchema), required=True)


class RefreshAnswer(Schema):
    """What a refresh found."""

    message = fields.String(required=True, metadata={"example": "Templates refreshed"})
    count = fields.Integer(required=True, metadata={"description": "Templates now available", "example": 14})


class ComposeQuery(InputSchema):
    """For which deployment."""

    name = fields.String(
        load_default="my-app",
        metadata={"description": "Name of the deployment to be", "example": "my-app"},
    )


class ComposeAnswer(Schema):
    """Compose text for a deployment."""

    template_id = fields.String(required=True, metadata={"example": "static"})
    name = fields.String(required=True, metadata={"example": "my-app"})
    content = fields.String(
        required=True, metadata={"description": "Name and networks filled in; `${PORT}` and `${DOMAIN}` left"}
    )
