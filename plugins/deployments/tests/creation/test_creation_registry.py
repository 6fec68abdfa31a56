"""The login to a registry with which a creation pulls its images."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flatrun_core import Failed
from flatrun_core.ports.deployments import CREDENTIALS


class FakeCredentials:
    """A login for every image, or a failure."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.asked: list[tuple[tuple[str, ...], str | None]] = []

    @contextmanager
    def docker_config(self, images: Any, credential_id: str | None) -> Any:
        self.asked.append((tuple(images), credential_id))
        if self.failure:
            raise self.failure
        yield Path("/tmp/throw-away")


def test_pulls_use_a_throw_away_login(make_bench: Any, new_neighbour: Any) -> None:
    registries, credentials = new_neighbour("registries"), FakeCredentials()
    registries.offers[CREDENTIALS] = credentials
    bench = make_bench(registries)
    bench.create(auto_start=True, registry_credential={"credential_id": "c1"})
    assert credentials.asked == [(("busybox",), "c1")]
    assert bench.compose.calls[-1].project.env["DOCKER_CONFIG"] == "/tmp/throw-away"
    bench.client.post("/api/deployments/blog/stop")
    assert len(credentials.asked) == 1


def test_a_login_that_fails_is_told_and_the_start_goes_on(make_bench: Any, new_neighbour: Any) -> None:
    registries = new_neighbour("registries")
    registries.offers[CREDENTIALS] = FakeCredentials(Failed("the key is lost"))
    bench = make_bench(registries)
    answer = bench.create(auto_start=True)
    assert answer["registry_login_error"] == "the key is lost"
    assert not answer["start_error"]
    assert bench.client.post("/api/deployments/blog/start").status_code == 500
