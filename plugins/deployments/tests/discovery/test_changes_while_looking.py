"""Files and folders that come and go while they are looked at, and many who look at once."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flatrun_deployments import folder as folder_module
from flatrun_deployments.discovery import Discovery
from flatrun_deployments.files import read_bytes


def test_files_vanishing_in_the_middle_hide_nothing_else(
    found: Discovery, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("blog", service="name: a\n")
    make("shop")
    real = read_bytes

    def vanish(folder: Path, name: str, limit: int) -> bytes:
        if folder.name == "blog" and name == "service.yml" and (folder / name).exists():
            (folder / name).unlink()
        return real(folder, name, limit)

    monkeypatch.setattr(folder_module, "read_bytes", vanish)
    blog, shop = found.scan()
    assert (blog.problem, shop.problem) == ("", "")
    assert not blog.has_service_yml


def test_folders_that_come_and_go_while_looking_never_break_it(
    root: Path, found: Discovery, make: Any
) -> None:
    make("steady")
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            path = make(f"n{number % 7}", service="name: a\n")
            (path / "docker-compose.yml").unlink()
            (path / "service.yml").unlink()
            path.rmdir()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        deadline = time.monotonic() + 0.6
        while time.monotonic() < deadline:
            folders = {folder.name: folder for folder in found.scan()}
            assert folders["steady"].problem == ""
            assert found.get("steady") is not None
    finally:
        stop.set()
        thread.join()


def test_many_threads_see_the_same(found: Discovery, make: Any, names: Any) -> None:
    for number in range(20):
        make(f"site-{number}")
    results: list[list[str]] = []
    threads = [threading.Thread(target=lambda: results.append(names(found))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(result == results[0] and len(result) == 20 for result in results)
