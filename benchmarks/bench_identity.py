"""What a credential costs: the same read with authentication off, by a login token, and by an API key."""

import statistics
from typing import Any

from bench_http import rate
from lib.report import Row
from lib.stage import Stage

# The cheapest route with a permission, so that the share of authentication is the largest.
READ = "/api/plugins/users"
NAME, PASSWORD = "bench", "correct horse battery"


def run(stage: Stage) -> list[Row]:
    """Two panels that differ in ``auth.enabled`` alone, measured in turns."""
    folder = stage.config.parent / "open"
    folder.mkdir()
    with Stage(folder, quick=stage.quick) as opened:
        opened.config.write_text(opened.config.read_text().replace("auth: {", "auth: {enabled: false, "))
        stage.serve()
        opened.serve()
        token, key = credentials(stage)
        return measure(stage, opened, token, key)


def credentials(stage: Stage) -> tuple[str, str]:
    """A token and a key of an operator with access to ten deployments."""
    for number in range(10):
        stage.folder(f"{stage.prefix}-{number}", f"services:\n  web:\n    image: {stage.image}\n")
    account = {"username": NAME, "password": PASSWORD, "role": "operator"}
    user = answered(stage, "/api/users", account, 201)["user"]["id"]
    for number in range(10):
        grant = {"deployment_name": f"{stage.prefix}-{number}", "access_level": "write"}
        answered(stage, f"/api/users/{user}/deployments", grant, 201)
    login = answered(stage, "/api/auth/login", {"username": NAME, "password": PASSWORD}, 200)
    made = answered(stage, "/api/apikeys", {"name": "bench", "user_id": user}, 201)
    return login["token"], made["key"]


def measure(stage: Stage, opened: Stage, token: str, key: str) -> list[Row]:
    """Requests a second, the median of the rounds."""
    rounds, length = (2, 1.0) if stage.quick else (5, 3.0)
    sides = {"off": (opened.port, ""), "token": (stage.port, token), "key": (stage.port, key)}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (port, credential) in sides.items():
            rates[name].append(rate(port, READ, credential, length))
    off, by_token, by_key = (statistics.median(rates[name]) for name in sides)
    against = f"authentication off: {off:.0f}/s"
    return [
        Row("read by token, of its rate", by_token / off, "x", 0.5, "high", f"{by_token:.0f}/s; {against}"),
        Row("read by API key, of its rate", by_key / off, "x", 0.5, "high", f"{by_key:.0f}/s; {against}"),
    ]


def answered(stage: Stage, path: str, body: dict[str, Any], status: int) -> dict[str, Any]:
    """A POST that must succeed."""
    found, answer = stage.call("POST", path, body)
    if found != status:
        raise RuntimeError(f"POST {path} answered {found}: {answer}")
    return answer
