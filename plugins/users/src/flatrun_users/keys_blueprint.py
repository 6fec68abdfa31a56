"""The routes below ``/api/apikeys``."""

from typing import Any

from flask.views import MethodView

from flatrun_core import Blueprint, access, identity, record_facts, service
from flatrun_users.account_schemas import MessageAnswer
from flatrun_users.key_schemas import KeyAnswer, KeysAnswer, NewKeyAnswer, NewKeySchema
from flatrun_users.keys import KEYS, NewKey
from flatrun_users.row_ids import row_id

blp = Blueprint(
    "apikeys", __name__, url_prefix="/api/apikeys", description="Keys that act for their owner, and narrower"
)


@blp.route("")
class ApiKeys(MethodView):
    """Keys."""

    @access("apikeys:read", resource="api_key")
    @blp.response(200, KeysAnswer)
    def get(self) -> dict[str, Any]:
        """List your keys, or everybody's as an administrator, newest first."""
        return {"api_keys": service(KEYS).all(identity())}

    @access("apikeys:write", action="apikeys.create", resource="api_key")
    @blp.arguments(NewKeySchema)
    @blp.raises(404, 409)
    @blp.response(201, NewKeyAnswer)
    def post(self, body: dict[str, Any]) -> NewKey:
        """Create a key that may do what you may or less; its text is shown in this answer only.

        A key that is made with a key ends with that one.
        """
        made = service(KEYS).create(identity(), body)
        record_facts(resource_id=str(made.id))
        return made


@blp.route("/<key_id>")
class ApiKeyView(MethodView):
    """One key."""

    @access("apikeys:read", resource="api_key")
    @blp.raises(400, 404)
    @blp.response(200, KeyAnswer)
    def get(self, key_id: str) -> dict[str, Any]:
        """Show a key of yours, or any as an administrator."""
        return {"api_key": service(KEYS).one(identity(), row_id(key_id))}

    @access("apikeys:delete", action="apikeys.delete", resource="api_key")
    @blp.raises(400, 404)
    @blp.response(200, MessageAnswer)
    def delete(self, key_id: str) -> dict[str, str]:
        """Delete a key, the keys that were made with it, and their sessions."""
        service(KEYS).delete(identity(), row_id(key_id))
        return {"message": "API key deleted"}


@blp.route("/<key_id>/revoke")
class RevokeKey(MethodView):
    """The end of a key."""

    @access("apikeys:delete", action="apikeys.revoke", resource="api_key")
    @blp.raises(400, 404)
    @blp.response(200, MessageAnswer)
    def post(self, key_id: str) -> dict[str, str]:
        """Revoke a key, the keys that were made with it, and their sessions; it stays in the list."""
        service(KEYS).revoke(identity(), row_id(key_id))
        return {"message": "API key revoked"}
