"""What comes in and what goes out."""

from marshmallow import Schema
from marshmallow.validate import Length

from flatrun_core import InputSchema, fields


class GreetSchema(InputSchema):
    """Body of POST /api/hello."""

    name = fields.String(required=True, validate=Length(1, 100), metadata={"example": "Ada"})


class GreetingSchema(Schema):
    """One greeting."""

    name = fields.String(required=True)
    text = fields.String(required=True)
    created_at = fields.Time(required=True)


class GreetingsSchema(Schema):
    """Answer of GET /api/hello."""

    greetings = fields.List(fields.Nested(GreetingSchema), required=True)
