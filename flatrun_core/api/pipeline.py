"""What happens to every request before its view and after it.

Order: route, authentication, permission, deployment scope, record; the view then validates. All of
it stands in one ``before_request``, so nothing of a body is read for a request that is refused.
"""

import functools
import hmac
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import NotFound as RouteNotFound

from flatrun_core.access import declared
from flatrun_core.api.blueprint import read_json
from flatrun_core.api.client_address import BY_SOCKET, client_address, parse_networks
from flatrun_core.api.errors import answer_error, answer_unexpected
from flatrun_core.errors import Failed, FlatrunError, Forbidden, Unauthenticated
from flatrun_core.ports.auth import Access, Actor, Credentials, Identity, RecordedOutcome, RecordedRequest
from flatrun_core.settings import ApiSettings, AuthSettings

if TYPE_CHECKING:
    from flatrun_core.panel import Panel

log = logging.getLogger(__name__)

MUTATIONS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
NOBODY = Actor("anonymous")
ANONYMOUS = Identity(NOBODY, role="admin", permissions=None, unscoped=True)
_ABSOLUTE_FORM = re.compile(r"^https?://[^/]*", re.IGNORECASE)  # as a client of a forward proxy sends it
_FORWARDED = re.compile(r"x-forwarded-.*|x-real-ip|forwarded", re.IGNORECASE)  # what a proxy adds
CORS_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
CORS_HEADERS = "Authorization, Content-Type, X-API-Key, X-Requested-With"


class Pipeline:
    """Authenticates, authorises and records the requests of one application."""

    def __init__(self, app: Flask, panel: "Panel") -> None:
        self._app = app
        self._panel = panel
        self._networks = functools.lru_cache(maxsize=4)(parse_networks)
        app.before_request(self.before)
        app.after_request(self.after)
        app.teardown_request(_leave_session)

    def access_of(self, endpoint: str | None, method: str) -> Access | None:
        """What an endpoint's method declares; HEAD is GET's."""
        view: Any = self._app.view_functions.get(endpoint or "")
        method = "get" if method == "HEAD" else method.lower()
        return declared(getattr(getattr(view, "view_class", None), method, None)) or declared(view)

    def before(self) -> Response | None:
        """Everything that may refuse a request before its view runs."""
        g.flatrun_request_id = uuid.uuid4().hex
        g.flatrun_started = time.time()
        if request.method == "OPTIONS" and self._allowed_origin():
            return Response(status=204)
        if request.routing_exception is not None:
            return None
        if _has_hidden_slash():
            raise RouteNotFound
        access = self.access_of(request.endpoint, request.method)
        if access is None:  # start-up refuses such a route; this is the second lock on the door
            raise Forbidden("This route declares no access", code="ACCESS_UNDECLARED")
        g.flatrun_access = access
        g.flatrun_session = ExitStack()
        g.flatrun_session.enter_context(self._panel.database.session())
        g.flatrun_client_ip = self._client_ip()
        if access.kind == "internal":
            self._check_internal()
        elif access.kind != "public":
            self._admit(access)
        g.flatrun_admitted = True
        self._begin_record(access)
        return None

    def after(self, response: Response) -> Response:
        """Write the record and the headers every answer carries."""
        failure = self._finish_record(response)
        if failure is not None:
            response.close()
            response = failure
        response.headers["X-Request-ID"] = g.get("flatrun_request_id", "")
        self._cors(response)
        return response

    def try_identify(self) -> Identity | None:
        """The identity of a public request, if it brought a valid credential."""
        try:
            return self.identify()
        except FlatrunError:
            return None

    # --- admission ---

    def _admit(self, access: Access) -> None:
        identity = self.identify()
        g.flatrun_identity = identity
        deployment = self._authorise(identity, access)
        g.flatrun_rechecker = functools.partial(self._rechecker, access, deployment)

    def _authorise(self, identity: Identity, access: Access) -> str | None:
        _check_permissions(identity, access)
        arguments = request.view_args or {}
        deployment = None
        if access.deployment is not None:
            deployment = access.deployment(arguments)
        elif access.level is not None:
            deployment = arguments["name"]
        if access.level is not None:
            identity.need(access.level, deployment)
        self._ask_plugins(identity, access, deployment, request.method)
        return deployment

    def _ask_plugins(self, identity: Identity, access: Access, deployment: str | None, method: str) -> None:
        self._panel.hooks.all(
            "flatrun_authorize", identity=identity, access=access, deployment=deployment, method=method
        )

    def identify(self) -> Identity:
        """The identity of the current request; raises 401."""
        if not self._panel.settings.snapshot.of(AuthSettings).enabled:
            return ANONYMOUS
        return self._authenticate(
            _credentials(dict(request.headers), request.remote_addr or "", g.flatrun_client_ip)
        )

    def _authenticate(self, credentials: Credentials) -> Identity:
        identity: Identity | None = self._panel.hooks.first("flatrun_authenticate", credentials=credentials)
        if identity is not None:
            return identity
        if credentials.scheme == "none":
            raise Unauthenticated("Authorization header required")
        text = "Invalid API key" if credentials.scheme == "apikey" else "Invalid or expired token"
        raise Unauthenticated(text, code="INVALID_TOKEN")

    def _rechecker(self, access: Access, deployment: str | None) -> Callable[[], bool]:
        """Whether the request would still be admitted; asked by streams, outside the request."""
        headers, peer, client = dict(request.headers), request.remote_addr or "", g.flatrun_client_ip
        method = request.method

        def allowed() -> bool:
            try:
                if not self._panel.settings.snapshot.of(AuthSettings).enabled:
                    return True
                identity = self._authenticate(_credentials(headers, peer, client))
                _check_permissions(identity, access)
                if access.level is not None:
                    identity.need(access.level, deployment)
                self._ask_plugins(identity, access, deployment, method)
            except FlatrunError:
                return False
            return True

        return allowed

    def _check_internal(self) -> None:
        forwarded = any(_FORWARDED.fullmatch(name) for name in request.headers.keys())  # noqa: SIM118
        token = request.headers.get("X-Internal-Token", "")
        if forwarded or not token or not self._panel.proxy.accepts(token):
            raise Unauthenticated("Invalid or expired token", code="INVALID_TOKEN")

    def _client_ip(self) -> str:
        peer = request.remote_addr or ""
        proxies = self._panel.settings.snapshot.of(ApiSettings).trusted_proxies
        by_socket = request.environ.get(BY_SOCKET) is True
        headers = dict(request.headers) if proxies or by_socket else {}
        return client_address(peer, headers, self._networks(proxies), by_socket=by_socket)

    # --- record ---

    def _begin_record(self, access: Access) -> None:
        if access.kind == "internal" or request.method not in MUTATIONS:
            return
        tokens: list[tuple[Any, Any]] = []
        g.flatrun_recorded = tokens
        for recorder in self._panel.recorders:
            tokens.append((recorder, recorder.begin(self._recorded(access))))

    def _finish_record(self, response: Response) -> Response | None:
        access: Access | None = g.get("flatrun_access")
        if access is None or access.kind == "internal" or g.get("flatrun_finished"):
            return None
        if not self._panel.recorders:
            return None
        g.flatrun_finished = True
        tokens = {id(recorder): token for recorder, token in g.get("flatrun_recorded", ())}
        outcome = RecordedOutcome(
            status=response.status_code,
            elapsed_ms=int((time.time() - g.flatrun_started) * 1000),
            error=g.get("flatrun_error", ""),
            metadata=g.get("flatrun_facts", {}),
            resource_id=g.get("flatrun_resource_id", ""),
        )
        try:
            for recorder in self._panel.recorders:
                recorder.finish(tokens.get(id(recorder)), self._recorded(access), outcome)
        except FlatrunError as error:
            return answer_error(error)
        except Exception as exc:  # noqa: BLE001 - whatever a recorder raises, the request is not recorded
            answer_unexpected(exc)
            return answer_error(Failed("The request could not be recorded", code="AUDIT_FAILED"))
        return None

    def _recorded(self, access: Access) -> RecordedRequest:
        arguments = request.view_args or {}
        identity: Identity | None = g.get("flatrun_identity")
        mutation = request.method in MUTATIONS
        return RecordedRequest(
            request_id=g.flatrun_request_id,
            method=request.method,
            path=request.path,
            route=str(request.url_rule or request.path),
            query=request.query_string.decode("utf-8", "replace"),
            action=access.action,
            resource_type=access.resource,
            resource_id=str(next(iter(arguments.values()), "")),
            actor=g.get("flatrun_actor") or (identity.actor if identity else NOBODY),
            identity=identity,
            client_ip=g.flatrun_client_ip,
            user_agent=request.headers.get("User-Agent", ""),
            started=g.flatrun_started,
            mutation=mutation,
            secret=access.secret,
            body=_body() if mutation and g.get("flatrun_admitted") else None,
        )

    # --- cross-origin ---

    def _allowed_origin(self) -> str:
        settings = self._panel.settings.snapshot.of(ApiSettings)
        origin = request.headers.get("Origin", "")
        return origin if settings.enable_cors and origin and origin in settings.allowed_origins else ""

    def _cors(self, response: Response) -> None:
        if not self._panel.settings.snapshot.of(ApiSettings).enable_cors:
            return
        response.vary.add("Origin")
        origin = self._allowed_origin()
        if not origin:
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = "X-Request-ID"
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = CORS_METHODS
            response.headers["Access-Control-Allow-Headers"] = CORS_HEADERS
            response.headers["Access-Control-Max-Age"] = "600"


def _has_hidden_slash() -> bool:
    """Whether the path as it was sent has a doubled or an encoded slash.

    The router sees the path decoded and its slashes merged by the server, where
    ``/deployments/a%2Fstart`` would be the action of another deployment.
    """
    sent = str(request.environ.get("REQUEST_URI", "")).partition("?")[0]
    path = _ABSOLUTE_FORM.sub("", sent).lower()
    return "//" in path or "%2f" in path


def _leave_session(error: BaseException | None) -> None:
    """Give the connection back, if one was taken; a stream's body runs after this and holds none."""
    stack: ExitStack | None = g.pop("flatrun_session", None)
    if stack is not None:
        stack.close()


def static_key(keys: tuple[str, ...], token: str) -> int | None:
    """Which of the configured keys this is, compared in constant time; None for none."""
    found = None
    for index, key in enumerate(keys):
        if hmac.compare_digest(key.encode(), token.encode("utf-8", "replace")):
            found = index
    return found


def _credentials(headers: Mapping[str, str], peer: str, client_ip: str) -> Credentials:
    header = headers.get("Authorization") or ""
    scheme, token = "none", ""
    if header:
        kind, _, token = header.partition(" ")
        token = token.strip()
        if not token:
            raise Unauthenticated("Invalid authorization header format", code="INVALID_TOKEN")
        scheme = kind.lower()
        if scheme not in ("bearer", "apikey"):
            raise Unauthenticated("Unsupported authorization scheme", code="INVALID_TOKEN")
    elif key := (headers.get("X-Api-Key") or "").strip():
        scheme, token = "apikey", key
    return Credentials(scheme=scheme, token=token, headers=headers, peer=peer, client_ip=client_ip)


def _check_permissions(identity: Identity, access: Access) -> None:
    if access.any_of:
        if not any(identity.has(name) for name in access.permissions):
            raise Forbidden(f"Permission denied: {' or '.join(access.permissions)} required")
        return
    for name in access.permissions:
        identity.need_permission(name)


def _body() -> Any:
    try:
        return read_json(request)
    except FlatrunError:
        return None
