"""Requests and answers about API keys, as the API document shows them."""

from typing import Final

from marshmallow import Schema

from flatrun_core import InputSchema, fields
from flatrun_users.account_schemas import DEPLOYMENT, HIDDEN, MOST_NAMES, permission_list
from flatrun_users.effective import ROLES

SHORTEST: Final = 60  # seconds
LONGEST: Final = 315_360_000  # seconds, ten years
_SOMETHING_SEEN: Final = rf"^[\s\S]*[^{HIDDEN}]"
_TIME: Final = {"example": "2024-01-01T00:00:00Z"}


class NewKeySchema(InputSchema):
    """A key to be made."""

    name = fields.String(
        required=True,
        validate=[fields.Length(1, 100), fields.Regexp(_SOMETHING_SEEN, error="Must not be blank.")],
        metadata={"example": "CI/CD Key"},
    )
    description = fields.String(
        load_default="", validate=fields.Length(max=2000), metadata={"example": "For GitHub Actions"}
    )
    role = fields.String(
        load_default="",
        validate=fields.OneOf([*ROLES, ""]),
        metadata={"description": "Not above your own; that of the owner when absent", "example": "operator"},
    )
    permissions = permission_list(
        load_default=list,
        metadata={
            "description": "Each of them held by you; those of the role when empty",
            "example": ["deployments:read", "deployments:write"],
        },
    )
    deployments = fields.List(
        fields.String(validate=fields.Regexp(DEPLOYMENT)),
        load_default=list,
        validate=fields.Length(max=MOST_NAMES),
        metadata={
            "description": "Each of them readable by you; all of the owner's when empty",
            "example": ["my-app"],
        },
    )
    expires_in = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=fields.Range(SHORTEST, LONGEST),
        metadata={"description": "Seconds; never when absent", "example": 2_592_000},
    )
    user_id = fields.Integer(
        load_default=None,
        allow_none=True,
        metadata={"description": "The owner, for administrators only; yourself when absent"},
    )


class NewKeyAnswer(Schema):
    """A key that was made; its text is shown only here."""

    id = fields.Integer(required=True, metadata={"example": 1})
    key = fields.String(required=True, metadata={"example": "flatrun_xxxxxxxxxxxx"})
    name = fields.String(required=True, metadata={"example": "CI/CD Key"})
    created_at = fields.Time(required=True, metadata=_TIME)


class KeySchema(Schema):
    """A key, without its text."""

    id = fields.Integer(required=True, metadata={"example": 1})
    key_id = fields.String(required=True, metadata={"example": "3f1c9d0a77b2"})
    user_id = fields.Integer(required=True, metadata={"description": "The owner", "example": 2})
    name = fields.String(required=True, metadata={"example": "CI/CD Key"})
    description = fields.String(required=True)
    key_prefix = fields.String(required=True, metadata={"example": "flatrun_Ab3dE6gH..."})
    role = fields.String(
        required=True, metadata={"enum": [*ROLES, ""], "description": "Empty for that of the owner"}
    )
    permissions = fields.List(
        fields.String(), required=True, metadata={"description": "Empty for those of the role"}
    )
    deployments = fields.List(
        fields.String(), required=True, metadata={"description": "Empty for all of the owner's"}
    )
    expires_at = fields.Time(required=True, allow_none=True, metadata=_TIME)
    last_used_at = fields.Time(required=True, allow_none=True, metadata=_TIME)
    last_used_ip = fields.String(required=True, metadata={"description": "Empty as long as it was not used"})
    is_active = fields.Boolean(required=True, metadata={"description": "False once it was revoked"})
    created_at = fields.Time(required=True, metadata=_TIME)


class KeysAnswer(Schema):
    """Keys."""

    api_keys = fields.List(fields.Nested(KeySchema), required=True)


class KeyAnswer(Schema):
    """One key."""

    api_key = fields.Nested(KeySchema, required=True)
