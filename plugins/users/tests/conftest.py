"""A panel with accounts, where passwords cost next to nothing and sessions need no login."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import argon2
import pytest
from flask import Flask

import flatrun_deployments.plugin as deployments_plugin
from flatrun_core import HOOK_API, Level, PluginInfo, hookimpl
from flatrun_core.ports.auth import RecordedEvent, RecordedOutcome, RecordedRequest
from flatrun_core.testing.client import ApiClient
from flatrun_users import passwords, plugin
from flatrun_users.accounts import ACCOUNTS, Accounts
from flatrun_users.models import ApiKey, Grant, LoginSession, User
from flatrun_users.sessions import SESSIONS, Client, Holder

PASSWORD = "correct horse battery"
COMPOSE = "services:\n  web:\n    image: busybox\n"


class Notebook:
    """A recorder that keeps what it is told."""

    name = "notebook"

    def __init__(self) -> None:
        self.finished: list[tuple[RecordedRequest, RecordedOutcome]] = []
        self.events: list[RecordedEvent] = []

    def begin(self, request: RecordedRequest) -> None:
        """Admit everything."""

    def finish(self, token: Any, request: RecordedRequest, outcome: RecordedOutcome) -> None:
        """Keep it."""
        self.finished.append((request, outcome))

    def note(self, event: RecordedEvent) -> None:
        """Keep it."""
        self.events.append(event)


class House:
    """A panel; ``admin`` acts with a key of the settings, so as nobody's account."""

    def __init__(self, app: Flask, admin: ApiClient, root: Path) -> None:
        self.app = app
        self.admin = admin
        self.root = root

    @property
    def panel(self) -> Any:
        return self.app.extensions["flatrun"]

    def service(self, key: Any) -> Any:
        return self.panel.services.get(key)

    def user(
        self,
        name: str = "john",
        role: str = "operator",
        permissions: Sequence[str] = (),
        grants: Mapping[str, Level] | None = None,
        *,
        active: bool = True,
    ) -> int:
        """An account with the password of these tests; its number."""
        with self.panel.database.atomic():
            row = User.make(name, self.service(passwords.PASSWORDS).hash(PASSWORD), role, permissions)
            if not active:
                row.change(is_active=False)
            for deployment, level in (grants or {}).items():
                Grant.put(row.id, deployment, level, None, row.created_at)
            return int(row.id)

    def session(self, user_id: int) -> ApiClient:
        """A client with a new session of that account."""
        with self.panel.database.atomic():
            opened = self.service(SESSIONS).open(Holder(user_id=user_id), Client("127.0.0.1"))
        return ApiClient(self.app, opened.token)

    def person(self, name: str, *args: Any, **kwargs: Any) -> ApiClient:
        """A client with a session of a new account."""
        return self.session(self.user(name, *args, **kwargs))

    def key(self, maker: ApiClient, **limits: Any) -> ApiClient:
        """A client with a new key made by somebody."""
        return ApiClient(self.app, self.key_text(maker, **limits))

    def key_text(self, maker: ApiClient, **limits: Any) -> str:
        """The text of a new key."""
        answer = maker.post("/api/apikeys", json={"name": "a key", **limits})
        assert answer.status_code == 201, answer.get_json()
        return str(answer.get_json()["key"])

    def session_of_key(self, text: str) -> ApiClient:
        """A client with a session that was opened with a key."""
        answer = ApiClient(self.app, None).post("/api/auth/login", json={"api_key": text})
        assert answer.status_code == 200, answer.get_json()
        return ApiClient(self.app, answer.get_json()["token"])

    def deployment(self, name: str) -> None:
        """A deployment that somebody put there by hand."""
        folder = self.root / name
        folder.mkdir(parents=True)
        (folder / "docker-compose.yml").write_text(COMPOSE)

    def row(self, user_id: int) -> Any:
        """An account as it is stored, or None."""
        with self.panel.database.session():
            return User.one(user_id)

    def grants(self, user_id: int) -> dict[str, int]:
        """What a user was given."""
        with self.panel.database.session():
            return Grant.levels_of(user_id)

    def key_rows(self) -> list[Any]:
        """Every key as it is stored, newest first."""
        with self.panel.database.session():
            return ApiKey.newest_first()

    def live_sessions(self) -> int:
        """How many sessions have not ended."""
        with self.panel.database.session():
            return int(LoginSession.live().count())

    @property
    def accounts(self) -> Accounts:
        found: Accounts = self.service(ACCOUNTS)
        return found


MakeHouse = Callable[..., House]


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with parameters that cost nothing; where the real ones matter a test does without."""
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "PasswordHasher", lambda: cheap)


@pytest.fixture
def notebook() -> Notebook:
    """What the panel's recorder was told."""
    return Notebook()


@pytest.fixture
def recording_plugin(notebook: Notebook) -> Any:
    """A plugin that registers the notebook."""

    class Recording:
        PLUGIN = PluginInfo(slug="notebook", hook_api=HOOK_API, display_name="Notebook")

        @hookimpl
        def flatrun_register_recorders(self) -> list[Notebook]:
            return [notebook]

    return Recording()


@pytest.fixture
def make_house(
    flatrun_app: Callable[..., Flask],
    flatrun_client: Callable[[Flask], ApiClient],
    recording_plugin: Any,
    cheap_passwords: None,
    tmp_path: Path,
) -> MakeHouse:
    """Make panels: with deployments unless ``deployments=False``, and with more plugins or settings."""

    def make(*plugins: Any, deployments: bool = True, **settings: Any) -> House:
        chosen = [plugin, recording_plugin, *plugins, *([deployments_plugin] if deployments else [])]
        app = flatrun_app(plugins=chosen, settings=settings)
        return House(app, flatrun_client(app), tmp_path / "deployments")

    return make


@pytest.fixture
def house(make_house: MakeHouse) -> House:
    """A panel with accounts and deployments."""
    return make_house()
