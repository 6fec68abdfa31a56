"""Every blueprint of this plugin."""

from typing import Final

from flatrun_users import auth_blueprint, grants_blueprint, keys_blueprint, totp_blueprint, users_blueprint

ALL: Final = (
    auth_blueprint.blp,
    users_blueprint.blp,
    totp_blueprint.blp,
    grants_blueprint.blp,
    grants_blueprint.deployments_blp,
    keys_blueprint.blp,
)
