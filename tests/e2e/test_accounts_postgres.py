"""Accounts and keys on PostgreSQL, where writers hold rows and not the whole database."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flatrun_e2e.postgres import Cluster

import flatrun_deployments.plugin as deployments_plugin
import flatrun_users.plugin as users_plugin
from flatrun_core.cli import Session
from flatrun_core.plugins import of_modules
from flatrun_core.testing.client import ApiClient
from flatrun_users.commands import users
from flatrun_users.models import ApiKey, User
from flatrun_users.sessions import SESSIONS, Client, Holder

AT_ONCE = 6


class House:
    """A panel on PostgreSQL; ``admin`` acts with a key of the settings."""

    def __init__(self, app: Flask, admin: ApiClient) -> None:
        self.app, self.admin = app, admin
        self.database = app.extensions["flatrun"].database

    def user(self, name: str, role: str = "operator") -> int:
        with self.database.atomic():
            return int(User.make(name, "no hash", role).id)

    def session(self, user_id: int) -> ApiClient:
        sessions = self.app.extensions["flatrun"].services.get(SESSIONS)
        with self.database.atomic():
            return ApiClient(self.app, sessions.open(Holder(user_id=user_id), Client("127.0.0.1")).token)


@pytest.fixture
def house(server: Cluster, flatrun_app: Callable[..., Flask], flatrun_client: Any) -> House:
    app = flatrun_app(plugins=[users_plugin, deployments_plugin], settings={"database": server.create()})
    return House(app, flatrun_client(app))


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What the calls answer, all of them begun together."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.mark.parametrize(
    ("method", "body"), [("PUT", {"role": "viewer"}), ("PUT", {"is_active": False}), ("DELETE", None)]
)
def test_of_administrators_who_remove_one_another_at_once_one_remains(
    house: House, method: str, body: Any
) -> None:
    numbers = [house.user(f"boss{n}", "admin") for n in range(AT_ONCE)]
    clients = [house.session(number) for number in numbers]
    victims = [*numbers[1:], numbers[0]]

    def removal(client: ApiClient, victim: int) -> Callable[[], int]:
        return lambda: client.open(method, f"/api/users/{victim}", json=body).status_code

    statuses = at_once([removal(*pair) for pair in zip(clients, victims, strict=True)])
    with house.database.session():
        remaining = User.active_of_role("admin")
    assert remaining
    assert len(remaining) == AT_ONCE - statuses.count(200)
    assert set(statuses) <= {200, 401, 403, 409}


def test_of_accounts_of_one_name_made_at_once_one_is_made(house: House) -> None:
    body = {"username": "john", "password": "secure-password", "role": "viewer"}
    statuses = at_once([lambda: house.admin.post("/api/users", json=body).status_code] * AT_ONCE)
    assert Counter(statuses) == {201: 1, 409: AT_ONCE - 1}


def test_access_given_at_once_is_given_once(house: House) -> None:
    compose = "services:\n  web:\n    image: busybox\n"
    house.admin.post("/api/deployments", json={"name": "blog", "compose": compose})
    path = f"/api/users/{house.user('john')}/deployments"
    body = {"deployment_name": "blog", "access_level": "write"}
    statuses = at_once([lambda: house.admin.post(path, json=body).status_code] * AT_ONCE)
    assert Counter(statuses) == {201: 1, 200: AT_ONCE - 1}
    assert len(house.admin.get(path).get_json()["deployments"]) == 1


def test_a_deployment_of_the_longest_name_can_be_given(house: House, tmp_path: Any) -> None:
    name = "x" * 128
    folder = tmp_path / "deployments" / name
    folder.mkdir(parents=True)
    (folder / "docker-compose.yml").write_text("services:\n  web:\n    image: busybox\n")
    path = f"/api/users/{house.user('john')}/deployments"
    body = {"deployment_name": name, "access_level": "read"}
    assert house.admin.post(path, json=body).status_code == 201


def test_of_fifty_keys_made_at_once_none_is_lost(house: House) -> None:
    client = house.session(house.user("john"))
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: client.post("/api/apikeys", json={"name": f"key {n}"}), range(50)))
    assert {answer.status_code for answer in answers} == {201}
    with house.database.session():
        kept = {row.id for row in ApiKey.newest_first()}
    assert kept == {answer.get_json()["id"] for answer in answers}
    assert len(kept) == 50


def test_nothing_that_is_made_while_its_maker_ends_outlives_it(house: House) -> None:
    """Made by a key that is revoked, by one whose maker is, and by one whose owner is deleted."""
    house.user("boss", "admin")
    number = house.user("john")
    john = house.session(number)
    root = john.post("/api/apikeys", json={"name": "root"}).get_json()
    maker = ApiClient(house.app, root["key"])
    child = ApiClient(house.app, maker.post("/api/apikeys", json={"name": "child"}).get_json()["key"])

    def make(client: ApiClient) -> Callable[[], int]:
        return lambda: client.post("/api/apikeys", json={"name": "one more"}).status_code

    makers = [make(client) for client in (maker, child) * 3]
    *made, revoked = at_once([*makers, lambda: john.post(f"/api/apikeys/{root['id']}/revoke").status_code])
    assert revoked == 200
    assert set(made) <= {201, 401}
    with house.database.session():
        assert not any(row.is_active for row in ApiKey.newest_first())
    fresh = ApiClient(house.app, john.post("/api/apikeys", json={"name": "fresh"}).get_json()["key"])
    deletion = lambda: house.admin.delete(f"/api/users/{number}").status_code  # noqa: E731 - called at once
    *made, deleted = at_once([*[make(fresh)] * 4, *[make(john)] * 2, deletion])
    assert deleted == 200
    assert set(made) <= {201, 401, 404}
    with house.database.session():
        assert ApiKey.newest_first() == []


def test_changes_of_one_another_wait_and_never_lock_each_other_out(house: House) -> None:
    numbers = [house.user(f"boss{n}", "admin") for n in range(AT_ONCE)]
    clients = [house.session(number) for number in numbers]

    def change(client: ApiClient, victim: int, turn: int) -> Callable[[], int]:
        body = [{"email": f"t{turn}@example.com"}, {"role": "operator"}, {"role": "admin"}][turn % 3]
        return lambda: client.put(f"/api/users/{victim}", json=body).status_code

    for turn in range(6):
        victims = numbers[turn:] + numbers[:turn]
        calls = [
            change(client, victim, turn + n)
            for n, (client, victim) in enumerate(zip(clients, victims, strict=True))
        ]
        assert set(at_once(calls)) <= {200, 403, 409}


def test_the_commands_on_the_host_work_on_a_server_too(
    server: Cluster, flatrun_app: Callable[..., Flask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.create()
    config = tmp_path / "flatrun.yml"
    config.write_text(f"deployments_path: {tmp_path / 'deployments'}\ndatabase: '{url}'\n")
    monkeypatch.setattr("flatrun_core.plugins.discover", lambda: of_modules([users_plugin]))

    def run(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(users, arguments, obj=Session(config=config), **options)

    refused = run("list")
    assert (refused.exit_code, "no tables yet" in refused.stderr) == (1, True)
    with psycopg.connect(url) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone() == (0,)
    flatrun_app(plugins=[users_plugin], settings={"database": url})
    made = run("reset-password", "rescue", "--stdin", input="a new password\n")
    assert (made.exit_code, made.stderr) == (0, "")
    assert "rescue" in run("list").stdout
    assert not (tmp_path / "deployments").exists()
