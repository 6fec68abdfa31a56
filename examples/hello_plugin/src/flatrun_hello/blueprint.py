"""The routes below ``/api/hello``."""

from typing import Any

from flask.views import MethodView

from flatrun_core import Blueprint, access, service
from flatrun_hello.schemas import GreetingSchema, GreetingsSchema, GreetSchema
from flatrun_hello.service import HELLO, Greeted

blp = Blueprint("hello", __name__, url_prefix="/api/hello", description="Greetings")


@blp.route("")
class Greetings(MethodView):
    """All greetings."""

    @access("hello:read", resource="greeting")
    @blp.response(200, GreetingsSchema)
    def get(self) -> dict[str, Any]:
        """List greetings, newest first."""
        return {"greetings": service(HELLO).newest()}

    @access("hello:write", action="hello.greet", resource="greeting")
    @blp.arguments(GreetSchema)
    @blp.response(201, GreetingSchema)
    def post(self, body: dict[str, Any]) -> Greeted:
        """Greet somebody."""
        return service(HELLO).greet(body["name"])
