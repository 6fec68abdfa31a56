"""What comes in and what goes out below ``/api/auth`` and ``/api/users/me/totp``."""

from marshmallow import Schema

from flatrun_core import InputSchema, fields
from flatrun_users.effective import ROLES

_TIME = {"example": "2026-01-02T12:00:00Z"}


class LoginBody(InputSchema):
    """A name and a password, or an API key; with both, the name and the password count."""

    username = fields.String(load_default="", metadata={"example": "admin"})
    password = fields.Secret(load_default="", metadata={"example": "a-long-password"})
    totp_code = fields.Secret(
        load_default="",
        metadata={
            "description": "A code of the second factor, or a recovery code, where one is set up",
            "example": "123456",
        },
    )
    api_key = fields.Secret(load_default="", metadata={"description": "Instead of a name and a password"})


class LoginUser(Schema):
    """The account that logged in."""

    id = fields.Integer(required=True, metadata={"example": 1})
    uid = fields.String(required=True, metadata={"example": "9f8e7d6c5b4a39281706f5e4d3c2b1a0"})
    username = fields.String(required=True, metadata={"example": "admin"})
    email = fields.String(required=True, metadata={"description": "Empty for none", "example": ""})
    role = fields.String(required=True, metadata={"enum": ROLES, "example": "admin"})
    is_active = fields.Boolean(required=True, metadata={"example": True})
    created_at = fields.Time(required=True, metadata=_TIME)
    updated_at = fields.Time(required=True, metadata=_TIME)
    last_login_at = fields.Time(required=True, allow_none=True, metadata=_TIME)


class LoginAccess(Schema):
    """Access to one deployment."""

    deployment_name = fields.String(required=True, metadata={"example": "my-app"})
    access_level = fields.String(
        required=True, metadata={"enum": ["read", "write", "admin"], "example": "write"}
    )


class LoginAnswer(Schema):
    """A token and what it may do; with authentication off an empty token and a message only."""

    token = fields.String(
        required=True, metadata={"description": "For `Authorization: Bearer`", "example": "IjE2Li4u"}
    )
    token_type = fields.String(metadata={"example": "Bearer"})
    expires_in = fields.Integer(metadata={"description": "Seconds", "example": 86400})
    expires_at = fields.Time(metadata=_TIME)
    user = fields.Nested(
        LoginUser, allow_none=True, metadata={"description": "`null` for a key of the settings"}
    )
    permissions = fields.List(
        fields.String(),
        metadata={"description": "All that the token may use", "example": ["deployments:read"]},
    )
    deployments = fields.List(fields.Nested(LoginAccess))
    message = fields.String(
        metadata={"description": "Only with authentication off", "example": "Authentication disabled"}
    )


class StatusAnswer(Schema):
    """Whether a credential is needed, and whether the one sent along is valid."""

    enabled = fields.Boolean(required=True, metadata={"example": True})
    authenticated = fields.Boolean(required=True, metadata={"example": False})


class ValidAnswer(Schema):
    """A credential that is valid."""

    valid = fields.Boolean(required=True, metadata={"example": True})
    message = fields.String(required=True, metadata={"example": "Token is valid"})
    expires_at = fields.Time(
        required=True, allow_none=True, metadata={"description": "`null` for never", **_TIME}
    )


class NotValidAnswer(Schema):
    """A credential that is not valid."""

    valid = fields.Boolean(required=True, metadata={"example": False})
    error = fields.String(required=True, metadata={"example": "Invalid or expired token"})
    code = fields.String(required=True, metadata={"example": "INVALID_TOKEN"})


class LoggedOutAnswer(Schema):
    """The session was ended."""

    message = fields.String(required=True, metadata={"example": "Logged out"})


class SessionSchema(Schema):
    """A login that is still good."""

    id = fields.Integer(required=True, metadata={"example": 7})
    created_at = fields.Time(required=True, metadata=_TIME)
    last_seen_at = fields.Time(
        required=True, metadata={"description": "Written once a minute at most", **_TIME}
    )
    client_ip = fields.String(required=True, metadata={"example": "192.0.2.7"})
    user_agent = fields.String(required=True, metadata={"example": "curl/8.5.0"})
    current = fields.Boolean(
        required=True, metadata={"description": "Whether it is that of this request", "example": True}
    )


class SessionsAnswer(Schema):
    """The caller's sessions, newest first."""

    sessions = fields.List(fields.Nested(SessionSchema), required=True)


class SessionEndedAnswer(Schema):
    """A session was ended."""

    message = fields.String(required=True, metadata={"example": "Session revoked"})


class EnrolmentAnswer(Schema):
    """What an authenticator is set up with; shown once."""

    secret = fields.String(required=True, metadata={"example": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"})
    otpauth_uri = fields.String(
        required=True,
        metadata={
            "description": "To be shown as a QR code",
            "example": "otpauth://totp/Flatrun:admin?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Flatrun",
        },
    )


class CodeBody(InputSchema):
    """A code of the second factor."""

    code = fields.Secret(
        required=True,
        validate=fields.Length(1, 64),
        metadata={"description": "Six digits; to disable, a recovery code too", "example": "123456"},
    )


class RecoveryCodesAnswer(Schema):
    """Codes that stand in for the authenticator, each once; shown only here."""

    recovery_codes = fields.List(
        fields.String(), required=True, metadata={"example": ["abcd-efgh-ijkl-mnop"]}
    )


class DisabledAnswer(Schema):
    """The second factor is gone."""

    message = fields.String(required=True, metadata={"example": "Second factor disabled"})
