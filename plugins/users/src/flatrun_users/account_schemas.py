"""Requests and answers about accounts and access, as the API document shows them."""

from typing import Any, Final

from marshmallow import Schema

from flatrun_core import InputSchema, fields
from flatrun_users.effective import ROLES
from flatrun_users.grants import LEVELS

# The second part refuses the line feed at the end that `$` lets through.
USERNAME: Final = r"^[A-Za-z0-9._-]{3,64}$(?!\n)"
DEPLOYMENT: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$(?!\n)"
MOST_NAMES: Final = 500
# Blanks and what is not seen: controls, soft hyphen, zero width, direction of writing, line ends.
HIDDEN: Final = (
    r"\s\x00-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
)
_ALL_VISIBLE: Final = rf"^[^{HIDDEN}]*$(?!\n)"
_TIME: Final = {"example": "2024-01-01T00:00:00Z"}
_PERMISSIONS: Final = {
    "description": "Replaces the permissions of the role; empty for those of the role",
    "example": ["deployments:read", "deployments:write"],
}
_OWN_RULE: Final = "3 to 64 letters, digits, dots, underscores and hyphens; unique whatever the case"


def email(**kwargs: Any) -> Any:
    """An address, or "" for none; without characters that hide or turn round what is shown beside them."""
    visible = fields.Regexp(_ALL_VISIBLE, error="Not a valid email address.")
    metadata = {"example": "john@example.com"}
    return fields.Email(blank=True, validate=visible, metadata=metadata, **kwargs)


def permission_list(**kwargs: Any) -> Any:
    """Names of permissions; which there are the service knows."""
    names = fields.String(validate=fields.Length(1, 100))
    return fields.List(names, validate=fields.Length(max=MOST_NAMES), **kwargs)


class UserSchema(Schema):
    """An account."""

    id = fields.Integer(required=True, metadata={"example": 2})
    uid = fields.String(required=True, metadata={"example": "9f1c2b3a4d5e6f708192a3b4c5d6e7f8"})
    username = fields.String(required=True, metadata={"example": "john"})
    email = fields.String(required=True, metadata={"description": "Empty without one", "example": ""})
    role = fields.String(required=True, metadata={"enum": list(ROLES), "example": "operator"})
    permissions = fields.List(
        fields.String(), required=True, metadata={"description": "Its own list, empty for that of its role"}
    )
    is_active = fields.Boolean(required=True)
    created_at = fields.Time(required=True, metadata=_TIME)
    updated_at = fields.Time(required=True, metadata=_TIME)
    last_login_at = fields.Time(required=True, allow_none=True, metadata=_TIME)
    deployment_count = fields.Integer(
        required=True, metadata={"description": "How many deployments were given to it", "example": 1}
    )


class AccessSchema(Schema):
    """One deployment that a user was given."""

    deployment_name = fields.String(required=True, metadata={"example": "my-app"})
    access_level = fields.String(required=True, metadata={"enum": list(LEVELS), "example": "write"})
    granted_by = fields.Integer(
        required=True, allow_none=True, metadata={"description": "A user's id, null where that one is gone"}
    )
    created_at = fields.Time(required=True, metadata=_TIME)


class UsersAnswer(Schema):
    """All accounts."""

    users = fields.List(fields.Nested(UserSchema), required=True)


class UserAnswer(Schema):
    """One account."""

    user = fields.Nested(UserSchema, required=True)


class UserDetailsAnswer(Schema):
    """One account with what it was given."""

    user = fields.Nested(UserSchema, required=True)
    deployments = fields.List(fields.Nested(AccessSchema), required=True)


class MeAnswer(Schema):
    """The caller."""

    user = fields.Nested(
        UserSchema, required=True, allow_none=True, metadata={"description": "Null without an account"}
    )
    permissions = fields.List(
        fields.String(), required=True, metadata={"description": "What the caller may do, all counted"}
    )
    deployments = fields.List(fields.Nested(AccessSchema), required=True)


class NewUserSchema(InputSchema):
    """An account to be made."""

    username = fields.String(
        required=True,
        validate=fields.Regexp(USERNAME),
        metadata={"description": _OWN_RULE, "example": "john"},
    )
    password = fields.Secret(
        required=True, metadata={"description": "8 to 256 characters", "example": "secure-password"}
    )
    role = fields.String(required=True, validate=fields.OneOf(ROLES), metadata={"example": "operator"})
    email = email(load_default="")
    permissions = permission_list(load_default=list, metadata=_PERMISSIONS)


class UserChangeSchema(InputSchema):
    """What is to change of an account; what is absent stays."""

    username = fields.String(
        validate=fields.Regexp(USERNAME), metadata={"description": _OWN_RULE, "example": "john"}
    )
    email = email()
    role = fields.String(validate=fields.OneOf(ROLES), metadata={"example": "operator"})
    is_active = fields.Boolean(metadata={"description": "False ends every session of the account"})
    permissions = permission_list(metadata=_PERMISSIONS)
    password = fields.Secret(
        metadata={"description": "A new one, 8 to 256 characters; ends every session of the account"}
    )
    totp = fields.Boolean(
        validate=fields.OneOf([False]),
        metadata={"description": "`false` takes the second factor away, of somebody who lost it"},
    )


class OwnChangeSchema(InputSchema):
    """What everybody may change of the own account."""

    email = email()


class PasswordSchema(InputSchema):
    """A new password for the own account."""

    current_password = fields.Secret(required=True, metadata={"example": "old-password"})
    new_password = fields.Secret(
        required=True, metadata={"description": "8 to 256 characters", "example": "new-password"}
    )


class LevelSchema(InputSchema):
    """How much of a deployment a user may."""

    access_level = fields.String(required=True, validate=fields.OneOf(LEVELS), metadata={"example": "write"})


class GrantSchema(LevelSchema):
    """A deployment to be given to a user."""

    deployment_name = fields.String(
        required=True, validate=fields.Regexp(DEPLOYMENT), metadata={"example": "my-app"}
    )


class AccessListAnswer(Schema):
    """What a user was given."""

    deployments = fields.List(fields.Nested(AccessSchema), required=True)


class GrantAnswer(Schema):
    """What a user was given just now."""

    message = fields.String(required=True, metadata={"example": "Deployment access granted"})
    deployment_name = fields.String(required=True, metadata={"example": "my-app"})
    access_level = fields.String(required=True, metadata={"enum": list(LEVELS), "example": "write"})


class HolderSchema(Schema):
    """A user who was given a deployment."""

    user_id = fields.Integer(required=True, metadata={"example": 2})
    username = fields.String(required=True, metadata={"example": "john"})
    email = fields.String(required=True)
    role = fields.String(required=True, metadata={"enum": list(ROLES), "example": "operator"})
    access_level = fields.String(required=True, metadata={"enum": list(LEVELS), "example": "write"})
    granted_by = fields.Integer(required=True, allow_none=True, metadata={"example": 1})
    created_at = fields.Time(required=True, metadata=_TIME)


class HoldersAnswer(Schema):
    """Who was given a deployment."""

    deployment_name = fields.String(required=True, metadata={"example": "my-app"})
    users = fields.List(fields.Nested(HolderSchema), required=True)


class MessageAnswer(Schema):
    """What was done."""

    message = fields.String(required=True)
