"""The last active administrator cannot be lost, whoever asks and however many at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

LOSING = [
    ("PUT", {"role": "operator"}),
    ("PUT", {"is_active": False}),
    ("PUT", {"role": "viewer", "is_active": False}),
    ("DELETE", None),
]


def last(answer: Any) -> None:
    assert (answer.status_code, answer.get_json()["code"]) == (409, "LAST_ADMIN"), answer.get_json()


@pytest.mark.parametrize(("method", "body"), LOSING)
def test_the_last_one_stays(house: Any, method: str, body: Any) -> None:
    boss = house.user("boss", "admin")
    house.user("former", "admin", active=False)
    house.user("worker")
    last(house.admin.open(method, f"/api/users/{boss}", json=body))
    row = house.row(boss)
    assert (row.role, row.is_active) == ("admin", True)


@pytest.mark.parametrize(("method", "body"), LOSING)
def test_with_another_one_there_he_may_go(house: Any, method: str, body: Any) -> None:
    boss = house.user("boss", "admin")
    house.user("other", "admin")
    assert house.admin.open(method, f"/api/users/{boss}", json=body).status_code == 200


def test_the_last_one_may_be_changed_in_every_other_way(house: Any) -> None:
    boss = house.user("boss", "admin")
    change = {"email": "a@example.com", "password": "secure-password", "is_active": True, "role": "admin"}
    assert house.admin.put(f"/api/users/{boss}", json=change).status_code == 200


def test_one_who_is_switched_off_may_go(house: Any) -> None:
    house.user("boss", "admin")
    former = house.user("former", "admin", active=False)
    assert house.admin.put(f"/api/users/{former}", json={"role": "viewer"}).status_code == 200
    assert house.admin.delete(f"/api/users/{former}").status_code == 200


@pytest.mark.parametrize(("method", "body"), LOSING)
def test_of_all_who_remove_one_another_at_once_one_remains(house: Any, method: str, body: Any) -> None:
    numbers = [house.user(f"boss{n}", "admin") for n in range(6)]
    clients = [house.session(number) for number in numbers]
    start = threading.Barrier(len(numbers))

    def remove(place: int) -> int:
        start.wait()
        victim = numbers[(place + 1) % len(numbers)]
        return int(clients[place].open(method, f"/api/users/{victim}", json=body).status_code)

    with ThreadPoolExecutor(len(numbers)) as pool:
        statuses = list(pool.map(remove, range(len(numbers))))
    remaining = [row for row in map(house.row, numbers) if row and row.role == "admin" and row.is_active]
    assert remaining
    assert len(remaining) == len(numbers) - statuses.count(200)
