"""A client with a credential, and identities with chosen rights for tests."""

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from flatrun_core.context import PluginInfo
from flatrun_core.markers import HOOK_API, hookimpl
from flatrun_core.ports.auth import Actor, Credentials, Identity, Level

ADMIN_KEY = "flatrun-testing-admin-key"


class ApiClient:
    """Flask's test client with a key; ``json`` becomes the body, the answer is werkzeug's."""

    def __init__(self, app: Flask, key: str | None) -> None:
        self._client = app.test_client()
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def open(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        """Any method."""
        headers = {**self._headers, **kwargs.pop("headers", {})}
        if "json" in kwargs:
            kwargs["data"] = json.dumps(kwargs.pop("json"))
            headers.setdefault("Content-Type", "application/json")
        return self._client.open(path, method=method, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        """GET."""
        return self.open("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> TestResponse:
        """POST."""
        return self.open("POST", path, **kwargs)

    def put(self, path: str, **kwargs: Any) -> TestResponse:
        """PUT."""
        return self.open("PUT", path, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> TestResponse:
        """DELETE."""
        return self.open("DELETE", path, **kwargs)


class LoginPlugin:
    """A plugin that knows the identities that ``Login`` made for its application."""

    def __init__(self) -> None:
        self.PLUGIN = PluginInfo(slug="testing_login", hook_api=HOOK_API, display_name="Testing login")
        self.identities: dict[str, Identity] = {}

    @hookimpl
    def flatrun_authenticate(self, credentials: Credentials) -> Identity | None:
        """The identity of a token made by ``Login``."""
        return self.identities.get(credentials.token)


class Login:
    """Makes clients whose identities have exactly the rights given."""

    def __call__(
        self,
        app: Flask,
        permissions: Iterable[str] | None = (),
        grants: Mapping[str, Level] | None = None,
        *,
        unscoped: bool = False,
        role: str = "operator",
    ) -> ApiClient:
        """``permissions`` None means all; ``unscoped`` gives every deployment."""
        record = next(r for r in app.extensions["flatrun"].plugins if r.slug == "testing_login")
        token = uuid.uuid4().hex
        record.module.identities[token] = Identity(
            Actor("user", token[:8], f"user-{token[:8]}"),
            role=role,
            permissions=None if permissions is None else frozenset(permissions),
            grants=dict(grants or {}),
            unscoped=unscoped,
        )
        return ApiClient(app, token)
