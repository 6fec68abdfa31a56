"""Every route of the document by every actor, over HTTP, against what the declarations say.

What is expected follows from the contract of roles, lists, keys and levels, written down here once
more; nothing of the code that decides is asked.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.views import MethodView

from flatrun_core import hookimpl
from flatrun_core.errors import StartupError
from flatrun_core.testing.document import Operation
from flatrun_core.testing.serving import Answer

HERE, ELSEWHERE, GONE = "shop", "news", "gone"
LEVELS = ("", "read", "write", "admin")
ROLES = ("viewer", "operator", "admin")
# The permissions of the contract: the lowest role that holds them, and the verb, of which resources.
CONTRACT = {
    ("viewer", "read"): "deployments certificates networks security backups apikeys settings containers "
    "images volumes databases infrastructure scheduler system dns registries templates traffic",
    ("operator", "write"): "deployments certificates backups apikeys containers images volumes databases "
    "infrastructure scheduler system dns registries",
    ("operator", "delete"): "apikeys",
    ("admin", "read"): "users audit cluster",
    ("admin", "write"): "networks security users settings templates traffic cluster",
    ("admin", "delete"): "deployments certificates networks backups users containers images volumes "
    "databases scheduler registries",
}
# It tells whether the credential that came along is valid, so it looks at it by itself.
JUDGES_ITSELF = "GET /api/auth/validate"
# Their work leaves no trace here, or needs a code of the moment.
IDLE = {
    "POST /api/templates/refresh",
    "POST /api/audit/export",
    "DELETE /api/audit/cleanup",
    "POST /api/proxy/sync",
}
BY_CODE = {"POST /api/users/me/totp/confirm", "DELETE /api/users/me/totp"}
STRANGER = "/api/stranger"  # it knows of no deployments
REFUSALS = {"PERMISSION_DENIED", "DEPLOYMENT_FORBIDDEN"}

Expected = tuple[int, str, str] | None


class Oracle:
    """What the contract says of a route and an actor: a refusal as (status, code, text), or None."""

    def __init__(self, published: list[dict[str, Any]]) -> None:
        self.roles: dict[str, set[str]] = {
            f"{resource}:{verb}": set(ROLES[ROLES.index(lowest) :])
            for (lowest, verb), resources in CONTRACT.items()
            for resource in resources.split()
        }
        for one in published:
            self.roles.setdefault(one["name"], set(one["roles"]))

    def of_role(self, role: str) -> set[str]:
        return {name for name, roles in self.roles.items() if role in roles}

    def permissions(self, actor: Any) -> set[str]:
        account, key = actor.account, actor.key
        listed = set(account.permissions) if account.role != "admin" else set()
        held = listed or self.of_role(account.role)
        if key is None:
            return held
        return held & (set(key.permissions) or self.of_role(key.role or "admin"))

    def level(self, actor: Any, deployment: str) -> str:
        if actor.key is not None and actor.key.deployments and deployment not in actor.key.deployments:
            return ""
        effective = actor.account.role
        return "admin" if effective == "admin" else actor.account.grants.get(deployment, "")

    def expected(self, operation: Operation, actor: Any, deployment: str = HERE) -> Expected:
        if operation.public and str(operation) != JUDGES_ITSELF:
            return None
        if actor.refused is not None:
            text, code = actor.refused
            return 401, code, text
        held = self.permissions(actor)
        lacking = [name for name in operation.permissions if name not in held]
        if operation.any_of and len(lacking) == len(operation.permissions):
            return 403, "PERMISSION_DENIED", f"Permission denied: {' or '.join(lacking)} required"
        if lacking and not operation.any_of:
            return 403, "PERMISSION_DENIED", f"Permission denied: {lacking[0]} required"
        if LEVELS.index(self.level(actor, deployment)) < LEVELS.index(operation.level):
            return 403, "DEPLOYMENT_FORBIDDEN", "No access to this deployment"
        return None


Row = tuple[Operation, str, dict[str, str]]


def rows_of(operation: Operation) -> Iterator[Row]:
    """What to ask of a route: of this deployment, of another, of none that is there; to follow a log too."""
    queries = [{}, {"follow": "true"}] if "follow" in operation.query else [{}]
    for query in queries:
        yield operation, HERE, query
        if operation.level:
            yield operation, ELSEWHERE, query
        if operation.level and "{name}" in operation.path:
            yield operation, GONE, query


class Matrix:
    """Asks the world for every route as one actor, and judges what comes."""

    def __init__(self, world: Any, name: str) -> None:
        self.world, self.name = world, name
        self.actor = world.actors[name]
        self.oracle = Oracle(world.get("/api/permissions")["permissions"])
        self.rows = [row for operation in world.operations for row in rows_of(operation)]
        self.wrong: list[str] = []
        self.admitted = self.refused = 0

    def run(self) -> None:
        """The refused ones first, so that one look at the end tells whether any had an effect."""
        expected = [(row, self.oracle.expected(row[0], self.actor, row[1])) for row in self.rows]
        before = self.world.state.picture()
        for row, refusal in expected:
            if refusal is not None:
                self.refused += 1
                self.judge_refused(row, refusal, self.ask(row, right=True))
        if changed := self.world.state.changes(before):
            self.wrong.append(f"refused requests changed {', '.join(changed)}")
        for row, refusal in expected:
            if refusal is None:
                self.admitted += 1
                self.judge_admitted(row, self.ask(row, right=False))
                if row[0].method != "GET":
                    self.world.state.restore(before)

    def ask(self, row: Row, *, right: bool) -> Answer:
        """With a right body, or with one that no route takes, so that little is done by the admitted."""
        operation, deployment, query = row
        body = None
        if operation.takes_body:
            body = self.world.body_of(operation) if right or operation.is_download else b"[]"
        target = operation.target(self.world.values_of(operation, deployment), query)
        answer: Answer = self.world.panel.ask(operation.method, target, headers=self.actor.headers, body=body)
        return answer

    def judge_refused(self, row: Row, refusal: tuple[int, str, str], answer: Answer) -> None:
        body = answer.json() or {}
        found = (answer.status, body.get("code"), body.get("error"))
        if found != refusal:
            self.wrong.append(f"{row[0]} of {row[1]}: {found} and not {refusal}")

    def judge_admitted(self, row: Row, answer: Answer) -> None:
        operation, deployment, query = row
        label = f"{operation} of {deployment}"
        code = (answer.json() or {}).get("code") if answer.status >= 400 else ""
        if answer.status in (401, 403) or answer.status >= 500 or code in REFUSALS:
            self.wrong.append(f"{label}: {answer.status} {code} and not admitted")
        if deployment == GONE and answer.status not in (400, 404) and not operation.path.startswith(STRANGER):
            self.wrong.append(f"{label}: {answer.status} for a deployment that is not there")
        if query and deployment != GONE and not answer.is_stream:
            self.wrong.append(f"{label}: no stream")
        if operation.takes_body and not operation.is_download and answer.status != 400:
            self.wrong.append(f"{label}: {answer.status} for a body that is an array")


def test_each_route_answers_each_actor_as_declared(
    world: Any, actor_name: str, record_property: Callable[[str, Any], None]
) -> None:
    matrix = Matrix(world, actor_name)
    matrix.run()
    pairs = matrix.admitted + matrix.refused
    counts = {"routes": len(world.operations), "rows": len(matrix.rows)}
    counts |= {"pairs": pairs, "wrong": len(matrix.wrong)}
    record_property("access matrix", counts)
    assert not matrix.wrong, "\n".join(matrix.wrong)
    assert pairs == len(matrix.rows) > len(world.operations) > 40
    assert matrix.admitted, "somebody who is let in nowhere tells nothing"
    assert matrix.refused or is_whole_admin(world.actors[actor_name])


def is_whole_admin(actor: Any) -> bool:
    """Whether nothing at all is refused to the actor."""
    return bool(actor.account.role == "admin" and actor.key in (None, type(actor.key)()))


def test_the_actors_are_all_there(world: Any, actor_names: tuple[str, ...]) -> None:
    assert set(world.actors) == set(actor_names)
    assert len(Oracle([]).roles) == 53


def test_every_route_that_is_served_is_in_the_document(world: Any) -> None:
    documented = {(one.method, one.path) for one in world.operations}
    accesses = world.app.extensions["flatrun"].accesses
    served = set()
    for rule in world.app.url_map.iter_rules():
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            _, access = accesses[(rule.rule, method.lower())]
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            if access.kind != "internal":
                served.add((method, path))
    assert served == documented


def test_a_route_that_declares_nothing_stops_the_start(
    stranger: Any, flatrun_app: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    blueprint = stranger.flatrun_register_blueprints()[0]

    @blueprint.route("/forgotten")
    class Forgotten(MethodView):
        @blueprint.response(200)
        def get(self) -> dict[str, str]:
            """Declare nothing."""
            return {}

    monkeypatch.setattr(type(stranger), "flatrun_register_blueprints", hookimpl(lambda self: [blueprint]))
    with pytest.raises(StartupError, match="/api/stranger/forgotten declares no access"):
        flatrun_app(plugins=["deployments", "users", stranger])


def test_what_is_published_is_what_the_document_says(world: Any) -> None:
    published = {
        (one["method"], one["path"]): (one["access"], one["permissions"], one["any_of"], one["level"] or "")
        for one in world.get("/api/permissions")["routes"]
    }
    documented = {}
    for one in world.operations:
        kind = "public" if one.public else "permission" if one.permissions else "authenticated"
        documented[one.method, one.path] = (kind, list(one.permissions), one.any_of, one.level)
    assert published == documented


def test_the_requests_that_were_refused_do_something_for_an_administrator(world: Any) -> None:
    idle = []
    headers = world.actors["admin"].headers
    for one in (one for one in world.operations if not one.public and str(one) not in BY_CODE):
        before = world.state.picture()
        target = one.target(world.values_of(one))
        answer = world.panel.ask(one.method, target, headers=headers, body=world.body_of(one))
        if answer.status >= 300:
            idle.append(f"{one}: {answer.status} {answer.body[:200]!r}")
        elif one.method != "GET" and str(one) not in IDLE and not world.state.changes(before):
            idle.append(f"{one}: nothing is different afterwards")
        world.state.restore(before)
    assert idle == []


@pytest.mark.parametrize("name", ["viewer", "operator's key narrowed to here", "admin"])
def test_every_refusal_and_every_change_is_recorded_once(world: Any, name: str) -> None:
    expected = {}
    matrix = Matrix(world, name)
    before = world.state.picture()
    for row in matrix.rows:
        refused = matrix.oracle.expected(row[0], matrix.actor, row[1]) is not None
        answer = matrix.ask(row, right=refused)
        if refused or row[0].method != "GET":
            expected[answer.header("X-Request-ID")] = (row[0].method, answer.status)
            world.state.restore(before)
    events = world.get("/api/audit/events?limit=1000")["events"]
    found = [(one["request_id"], (one["method"], one["response_status"])) for one in events]
    assert dict(found).items() >= expected.items()
    assert len({number for number, _ in found}) == len(found)


def test_a_head_request_is_judged_as_the_get_it_stands_for(world: Any) -> None:
    for name in ("nobody", "expired token", "viewer", "operator with read here", "admin"):
        headers = world.actors[name].headers
        for one in (one for one in world.operations if one.method == "GET"):
            target = one.target(world.values_of(one))
            head, get = (world.panel.ask(method, target, headers=headers) for method in ("HEAD", "GET"))
            assert head.status == get.status, f"HEAD {one.path} by {name}"


def test_what_only_the_proxy_may_call_is_closed_to_everybody(world: Any) -> None:
    for name, actor in world.actors.items():
        answer = world.panel.ask("GET", "/api/stranger/inside", headers=actor.headers)
        assert (answer.status, answer.json()["code"]) == (401, "INVALID_TOKEN"), name
