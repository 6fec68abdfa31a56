"""A panel with every installed plugin and a stranger's, served, and everybody who may knock at it."""

import base64
import contextlib
import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Flask

from flatrun_core import HOOK_API, PluginInfo, hookimpl
from flatrun_core.app import create_app
from flatrun_core.plugins import discover
from flatrun_core.ports.certificates import CertificateRequest, Issued
from flatrun_core.ports.docker import COMPOSE, ENGINE, PROJECT_LABEL, Compose
from flatrun_core.ports.secrets import SIGNING
from flatrun_core.settings import SettingsSource
from flatrun_core.testing.document import Operation, Place, operations
from flatrun_core.testing.fake_docker import FakeCompose, FakeEngine
from flatrun_core.testing.serving import Answer, ServedPanel
from flatrun_core.testing.state import PanelState

HERE, ELSEWHERE, GONE = "shop", "news", "gone"
ROOT_KEY = "the-key-of-the-settings-of-this-test"
SIGNING_KEY = "what-this-panel-signs-with"
ROOT = Path("over") / "there" / "deployments"
PASSWORD = "correct horse battery"
KEPT = {"key": "DB_PASSWORD", "value": "kept-in-the-environment-51b7"}
COMPOSE_TEXT = "services:\n  web:\n    image: test/web\n"
MakeCompose = Callable[[FakeEngine], tuple[Compose, list[Any]]]
# Passwords that cost next to nothing.
CHEAP = functools.partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
# What changes something when the Engine is asked for it.
WORK = ("start", "stop", "restart", "remove", "ensure_network", "connect_network", "remove_network")
# Where `name` is not the deployment here.
OTHER_VALUES = {
    "/api/plugins/{name}": {"name": "hello"},
    "/api/plugins/{name}/deployments": {"name": "stranger"},
}
PAST = "'2020-01-01 00:00:00'"
NOWHERE = "nothing-of-this-is-here"
# A certificate that belongs to no deployment.
NOBODYS = "nobodys.example.com"


@dataclass(frozen=True)
class Key:
    """What a key takes away from its owner."""

    role: str = ""
    permissions: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Account:
    """An account as it is created."""

    role: str
    permissions: tuple[str, ...] = ()
    grants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Actor:
    """Whoever asks; ``refused`` is the text and the code of a 401, for those who are nobody."""

    headers: Mapping[str, str]
    account: Account = Account("")
    key: Key | None = None
    refused: tuple[str, str] | None = None


CUSTOM = ("deployments:read", "containers:write", "stranger:read", "users:read", "audit:read")
ACCOUNTS = {
    "viewer": Account("viewer"),
    "operator": Account("operator"),
    "admin": Account("admin"),
    "custom permissions": Account("operator", CUSTOM, {HERE: "admin"}),
    "viewer with admin here": Account("viewer", (), {HERE: "admin"}),
    "operator with read elsewhere": Account("operator", (), {ELSEWHERE: "read"}),
    "operator with write elsewhere": Account("operator", (), {ELSEWHERE: "write"}),
    "operator with admin elsewhere": Account("operator", (), {ELSEWHERE: "admin"}),
    "operator with read here": Account("operator", (), {HERE: "read"}),
    "operator with write here": Account("operator", (), {HERE: "write"}),
    "operator with admin here": Account("operator", (), {HERE: "admin"}),
    "operator with admin on both": Account("operator", (), {HERE: "admin", ELSEWHERE: "admin"}),
}
KEYS = {
    "admin's key": ("admin", Key()),
    "admin's key narrowed by role": ("admin", Key(role="viewer")),
    "admin's key narrowed by permissions": ("admin", Key(permissions=CUSTOM)),
    "admin's key narrowed to here": ("admin", Key(deployments=(HERE,))),
    "admin's key narrowed to elsewhere": ("admin", Key(deployments=(ELSEWHERE,))),
    "operator's key": ("operator with write here", Key()),
    "operator's key narrowed by role": ("operator with admin here", Key(role="viewer")),
    "operator's key narrowed by permissions": ("operator with admin here", Key(permissions=CUSTOM[:3])),
    "operator's key narrowed to here": ("operator with admin on both", Key(deployments=(HERE,))),
    "operator's key narrowed to elsewhere": ("operator with admin on both", Key(deployments=(ELSEWHERE,))),
}
BAD_TOKEN = ("Invalid or expired token", "INVALID_TOKEN")
BAD_KEY = ("Invalid API key", "INVALID_TOKEN")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def by_key(text: str) -> dict[str, str]:
    return {"Authorization": f"ApiKey {text}"}


def leaves(value: Any) -> Iterator[Place]:
    """The places of the texts, and of the first in each list, in the settings as they are answered."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from ((key, *rest) for rest in leaves(inner))
    elif isinstance(value, list):
        yield (0,)
    elif isinstance(value, str):
        yield ()


class World:
    """A panel that is served, with something of everything in it."""

    def __init__(
        self, app: Flask, panel: ServedPanel, state: PanelState, engine: FakeEngine, folder: Path
    ) -> None:
        self.app, self.panel, self.state, self.engine = app, panel, state, engine
        self.folder, self.root = folder, folder / ROOT
        self.operations = operations(self.get("/api/openapi.json"))
        self.values: dict[str, str] = {"session_id": "1", "event": "1"}
        self.of_deployment: dict[str, dict[str, str]] = {}
        self.bodies: dict[str, Any] = {}
        self.keeper: dict[str, str] = {}
        self.secrets: dict[str, str] = {}

    def ask(self, operation: str, headers: Mapping[str, str] | None = None, body: Any = None) -> Answer:
        """Ask as the key of the settings, or with other headers: ``ask("GET /api/users")``."""
        method, _, target = operation.partition(" ")
        return self.panel.ask(
            method, target, headers=bearer(ROOT_KEY) if headers is None else headers, body=body
        )

    def done(self, operation: str, headers: Mapping[str, str] | None = None, body: Any = None) -> Any:
        """Ask for what must succeed."""
        answer = self.ask(operation, headers, body)
        assert answer.status < 300, (operation, answer.status, answer.body)
        return answer.json()

    def get(self, target: str) -> Any:
        return self.done(f"GET {target}")

    def values_of(self, operation: Operation, deployment: str = HERE) -> dict[str, str]:
        """What to put into the path: objects of a deployment, and an account that nobody here logs in to."""
        found = {**self.values, **self.of_deployment[deployment], **OTHER_VALUES.get(operation.path, {})}
        unknown = sorted(set(operation.path_names) - found.keys())
        assert not unknown, f"{operation}: World.furnish has to give a value to {', '.join(unknown)}"
        return found

    def body_of(self, operation: Operation) -> Any:
        """A body that is right: the document's example, or what only the world knows."""
        return self.bodies.get(str(operation), operation.body_example)

    def places_of(self, operation: Operation) -> Iterator[Place]:
        """Where a body takes text; of the settings, which the document leaves open, all that there are."""
        if str(operation) == "PUT /api/settings":
            return leaves(self.get("/api/settings")["settings"])
        return operation.texts()

    def furnish(self) -> None:
        """Deployments, a container that does not run, work of the stranger's, an account and its key."""
        for name in (HERE, ELSEWHERE):
            body = {"name": name, "compose": COMPOSE_TEXT, "env_vars": [KEPT]}
            self.done("POST /api/deployments", body=body)
            self.engine.add(f"{name}-old-1", state="exited", labels={PROJECT_LABEL: name})
            job = self.done(f"POST /api/stranger/of/{name}")["id"]
            entry = {"domain": f"{name}.example.com", "ssl": {"enabled": True, "auto_cert": False}}
            domain = self.done(f"POST /api/deployments/{name}/domains", body=entry)["domain"]["id"]
            self.of_deployment[name] = {
                "name": name,
                "container_id": f"{name}-old-1",
                "job_id": job,
                "domain_id": domain,
            }
        self.of_deployment[GONE] = {"name": GONE, "domain_id": NOWHERE}
        self.values["template_id"] = self.get("/api/templates")["templates"][0]["id"]
        self.values["domain"] = NOBODYS
        self.make_account("keeper", Account("admin"))
        token = self.login("keeper")
        self.keeper = bearer(token)
        totp = self.done("POST /api/users/me/totp", self.keeper)["secret"]
        bystander = self.make_account("bystander", Account("viewer", (), {HERE: "read"}))
        key, text = self.make_key(self.keeper, Key(), user_id=bystander)
        self.secrets = {"a token": token, "a second factor": totp, "an API key": text}
        self.values |= {"user_id": str(bystander), "key_id": str(key)}
        self.bodies |= {
            "POST /api/auth/login": {"username": "keeper", "password": PASSWORD},
            "POST /api/apikeys": {"name": "another key", "deployments": [HERE]},
            "POST /api/users/{user_id}/deployments": {"deployment_name": ELSEWHERE, "access_level": "read"},
            "PUT /api/users/me/password": {"current_password": PASSWORD, "new_password": f"{PASSWORD} 2"},
        }

    def make_account(self, name: str, account: Account) -> int:
        username = name.replace(" ", "-").replace("'", "")
        body = {"username": username, "password": PASSWORD, "role": account.role}
        made = self.done("POST /api/users", body={**body, "permissions": list(account.permissions)})
        number = int(made["user"]["id"])
        for deployment, level in account.grants.items():
            grant = {"deployment_name": deployment, "access_level": level}
            self.done(f"POST /api/users/{number}/deployments", body=grant)
        return number

    def login(self, name: str) -> str:
        body = {"username": name.replace(" ", "-"), "password": PASSWORD}
        return str(self.done("POST /api/auth/login", {}, body)["token"])

    def make_key(self, owner: Mapping[str, str], key: Key, **more: Any) -> tuple[int, str]:
        body = {"name": "a key", "permissions": list(key.permissions), "deployments": list(key.deployments)}
        role = {"role": key.role} if key.role else {}
        made = self.done("POST /api/apikeys", owner, {**body, **role, **more})
        return int(made["id"]), str(made["key"])


class Population(World):
    """A panel with its people, made through its own API."""

    whole_key = Key()

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.tokens: dict[str, str] = {}
        self.actors: dict[str, Actor] = {}

    def populate(self) -> None:
        """Everybody, once."""
        for name, account in ACCOUNTS.items():
            self.make_account(name, account)
            self.tokens[name] = self.login(name)
            self.actors[name] = Actor(bearer(self.tokens[name]), account)
        for name, (owner, key) in KEYS.items():
            _, text = self.make_key(bearer(self.tokens[owner]), key)
            self.actors[name] = Actor(by_key(text), ACCOUNTS[owner], key)
            if key.deployments or key.role:
                token = self.done("POST /api/auth/login", {}, {"api_key": text})["token"]
                self.actors[f"token of {name}"] = Actor(bearer(token), ACCOUNTS[owner], key)
        admins = self.actors["admin's key"].headers["Authorization"].removeprefix("ApiKey ")
        self.actors["admin's key in X-API-Key"] = Actor({"X-API-Key": admins}, ACCOUNTS["admin"], Key())
        self.actors["admin's key as a bearer"] = Actor(bearer(admins), ACCOUNTS["admin"], Key())
        self.actors["key of the settings"] = Actor(bearer(ROOT_KEY), ACCOUNTS["admin"], Key())
        self.actors |= self._nobodies()
        mine = self.done("GET /api/auth/sessions", self.actors["admin"].headers)["sessions"]
        self.values["session_id"] = str(mine[0]["id"])

    def _nobodies(self) -> dict[str, Actor]:
        good = self.tokens["admin"]
        payload, _, rest = good.partition(".")
        signing = self.app.extensions["flatrun"].services.get(SIGNING)
        other = base64.urlsafe_b64encode(b'"' + b"0" * 32 + b'"').decode().rstrip("=")
        tokens = {
            "random token": NOWHERE * 3,
            "garbage token": "\xff\xfe.\xa0.{}",
            "token of another purpose": signing.sign("somewhere.else", "0" * 32),
            "token without a session": signing.sign("users.session", "0" * 32),
            "token with a changed session": f"{other}.{rest}",
            "token with a changed signature": good[:-6] + ("A" * 6 if good[-6:] != "A" * 6 else "B" * 6),
            "token without a signature": payload,
            "expired token": self._expired_token(),
            "token of an ended session": self._ended_token(),
            "token of a deactivated user": self._lost_user("deactivated", "PUT", {"is_active": False})[0],
            "token of a deleted user": self._lost_user("deleted", "DELETE", None)[0],
            "token of a revoked key": self._lost_key("POST", "/revoke")[1],
        }
        keys = {
            "unknown key": "flatrun_" + "x" * 43,
            "revoked key": self._lost_key("POST", "/revoke")[0],
            "deleted key": self._lost_key("DELETE", "")[0],
            "expired key": self._expired_key(),
            "key of a deactivated user": self._lost_user("left", "PUT", {"is_active": False})[1],
        }
        return {
            "nobody": Actor({}, refused=("Authorization header required", "AUTH_REQUIRED")),
            "another scheme": Actor(
                {"Authorization": "Basic YWRtaW46YWRtaW4="},
                refused=("Unsupported authorization scheme", "INVALID_TOKEN"),
            ),
            "no token": Actor(
                {"Authorization": "Bearer"}, refused=("Invalid authorization header format", "INVALID_TOKEN")
            ),
            **{name: Actor(bearer(token), refused=BAD_TOKEN) for name, token in tokens.items()},
            **{name: Actor(by_key(key), refused=BAD_KEY) for name, key in keys.items()},
        }

    def _expired_token(self) -> str:
        token = self.login("viewer")
        newest = "(SELECT max(id) FROM users_session)"
        self.state.database.execute(f"UPDATE users_session SET expires_at = {PAST} WHERE id = {newest}")
        return token

    def _ended_token(self) -> str:
        token = self.login("operator")
        self.done("POST /api/auth/logout", bearer(token))
        return token

    def _expired_key(self) -> str:
        number, text = self.make_key(bearer(self.tokens["admin"]), Key(), expires_in=600)
        self.state.database.execute(f"UPDATE users_api_key SET expires_at = {PAST} WHERE id = {number}")
        return text

    def _lost_key(self, method: str, what: str) -> tuple[str, str]:
        number, text = self.make_key(bearer(self.tokens["admin"]), Key())
        token = self.done("POST /api/auth/login", {}, {"api_key": text})["token"]
        self.done(f"{method} /api/apikeys/{number}{what}")
        return text, token

    def _lost_user(self, name: str, method: str, body: Any) -> tuple[str, str]:
        number = self.make_account(name, Account("admin"))
        token = self.login(name)
        _, text = self.make_key(bearer(token), Key())
        self.done(f"{method} /api/users/{number}", body=body)
        return token, text


class Scribe:
    """A plugin whose issuer asks nobody and writes certificates of its own."""

    name = "scribe"

    def __init__(self, live: Path) -> None:
        self.PLUGIN = PluginInfo(slug=self.name, hook_api=HOOK_API, display_name="Scribe")
        self.live = live

    @hookimpl(optionalhook=True)
    def flatrun_register_issuers(self) -> list["Scribe"]:
        return [self]

    def issue(self, request: CertificateRequest) -> Issued:
        self.write(request.name)
        return Issued(request.name, "written")

    def renew(self, name: str, *, force: bool) -> Issued:
        self.write(name)
        return Issued(name, "written")

    def delete(self, name: str) -> None:
        shutil.rmtree(self.live / name)

    def write(self, name: str, age: timedelta = timedelta()) -> None:
        """Write a certificate of ninety days for the name alone."""
        key, subject, start = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.now(UTC) - age
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=90))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        leaf = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.live / name).mkdir(parents=True, exist_ok=True)
        for file, data in (("cert", leaf), ("fullchain", leaf), ("privkey", private)):
            (self.live / name / f"{file}.pem").write_bytes(data)


@contextlib.contextmanager
def opened(kind: type[World], folder: Path, stranger: Any, make_compose: MakeCompose) -> Iterator[World]:
    """Serve a panel with every installed plugin and the stranger's; Docker's Engine is in memory."""
    config = folder / "flatrun.yml"
    settings = {
        "deployments_path": str(folder / ROOT),
        "auth": {"api_keys": [ROOT_KEY], "secret_key": SIGNING_KEY},
        "api": {"max_streams": 100},
        "certificates": {"issuer": Scribe.name},
    }
    scribe = Scribe(folder / ROOT / "nginx" / "certs" / "live")
    for name in (NOBODYS, f"{HERE}.example.com", f"{ELSEWHERE}.example.com"):
        scribe.write(name, timedelta(days=80))
    config.write_text(json.dumps(settings))
    engine = FakeEngine()
    compose, calls = make_compose(engine)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("flatrun_users.passwords.PasswordHasher", CHEAP)
        app = create_app(
            SettingsSource.read(config, {}),
            plugins=[*(record.slug for record in discover()), stranger, scribe],
            strict=True,
            services={ENGINE: lambda: engine, COMPOSE: lambda: compose},
        )
    asked = {"Docker's work": lambda: ([call for call in engine.calls if call[0] in WORK], list(calls))}
    state = PanelState(app, engine, folder, apart=("audit_",), more=asked)
    with ServedPanel(app) as panel:
        world = kind(app, panel, state, engine, folder)
        world.furnish()
        yield world
    state.close()
    app.extensions["flatrun"].database.close()


def fake_compose_of(engine: FakeEngine) -> tuple[Compose, list[Any]]:
    compose = FakeCompose(engine)
    return compose, compose.calls


@pytest.fixture(scope="session")
def open_world(tmp_path_factory: pytest.TempPathFactory, stranger: Any) -> Callable[[MakeCompose], Any]:
    """Serve a panel without people, whose compose is as given."""
    return lambda make_compose: opened(World, tmp_path_factory.mktemp("world"), stranger, make_compose)


@pytest.fixture(scope="session")
def population(tmp_path_factory: pytest.TempPathFactory, stranger: Any) -> Iterator[Population]:
    folder = tmp_path_factory.mktemp("access")
    with opened(Population, folder, stranger, fake_compose_of) as world:
        assert isinstance(world, Population)
        world.populate()
        yield world


@pytest.fixture
def world(population: Population) -> Iterator[Population]:
    """The population, put back afterwards as it was before."""
    population.panel.take_models()
    before = population.state.picture()
    yield population
    population.state.restore(before)


ACTORS = (
    *ACCOUNTS,
    *KEYS,
    *(f"token of {name}" for name, (_, key) in KEYS.items() if key.deployments or key.role),
    *("admin's key in X-API-Key", "admin's key as a bearer", "key of the settings"),
    *("nobody", "another scheme", "no token", "random token", "garbage token"),
    *("token of another purpose", "token without a session", "token with a changed session"),
    *("token with a changed signature", "token without a signature", "expired token"),
    *("token of an ended session", "token of a deactivated user", "token of a deleted user"),
    *("token of a revoked key", "unknown key", "revoked key", "deleted key", "expired key"),
    "key of a deactivated user",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each actor, known by name before anybody is made."""
    if "actor_name" in metafunc.fixturenames:
        metafunc.parametrize("actor_name", ACTORS)


@pytest.fixture
def actor_names() -> tuple[str, ...]:
    return ACTORS
