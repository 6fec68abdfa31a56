from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.ports.docker import (
    NUMBER_LABEL,
    ONEOFF_LABEL,
    PROJECT_LABEL,
    SERVICE_LABEL,
    Container,
)
from flatrun_deployments.discovery import Discovery, Folder
from flatrun_deployments.status import by_project, join

COMPOSE = """\
services:
  web: {image: 'nginx:alpine', ports: ['8080:80'], networks: [proxy]}
  db: {image: postgres, expose: ['5432']}
  job: {build: .}
networks: {proxy: {external: true}}
"""
CREATED = datetime(2024, 1, 1, 0, 0, 5, tzinfo=UTC)
Load = Callable[..., Folder]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(compose: str = COMPOSE, service: str = "") -> Folder:
        path = tmp_path / "my-app"
        path.mkdir(exist_ok=True)
        (path / "docker-compose.yml").write_text(compose)
        if service:
            (path / "service.yml").write_text(service)
        folder = Discovery(lambda: tmp_path).get("my-app")
        assert folder is not None
        return folder

    return load


def container(
    service: str = "web",
    state: str = "running",
    *,
    health: str = "none",
    code: int | None = None,
    number: int = 1,
    oneoff: str = "False",
) -> Container:
    return Container(
        id=f"{number:x}" * 64,
        name=f"my-app-{service}-{number}",
        image="sha256:x",
        state=state,
        status="",
        health=health,
        created=CREATED,
        exit_code=code if state == "exited" else None,
        networks=("proxy", "my-app_default"),
        labels={
            PROJECT_LABEL: "my-app",
            SERVICE_LABEL: service,
            NUMBER_LABEL: str(number),
            ONEOFF_LABEL: oneoff,
        },
    )


@pytest.mark.parametrize(
    ("containers", "status"),
    [
        (None, "unknown"),
        ([], "stopped"),
        ([container()], "running"),
        ([container(state="created")], "stopped"),
        ([container(state="paused")], "stopped"),
        ([container(state="removing")], "stopped"),
        ([container(state="restarting")], "error"),
        ([container(state="dead")], "error"),
        ([container(health="healthy")], "running"),
        ([container(health="starting")], "running"),
        ([container(health="unhealthy")], "error"),
        ([container(state="exited", code=0)], "stopped"),
        ([container(state="exited", code=130)], "stopped"),
        ([container(state="exited", code=137)], "stopped"),
        ([container(state="exited", code=143)], "stopped"),
        ([container(state="exited", code=1)], "error"),
        ([container(state="exited", code=139)], "error"),
        ([container(state="exited", code=255)], "error"),
        ([container(state="exited", code=None)], "stopped"),
        ([container(), container("job", "exited", code=0)], "running"),
        ([container(), container("job", "exited", code=1)], "error"),
        ([container(), container("db", "restarting")], "error"),
        ([container(), container("db", "paused")], "running"),
        ([container(), container(number=2, state="exited", code=2)], "error"),
        ([container(), container(state="exited", code=1, number=2, oneoff="True")], "running"),
        ([container(oneoff="True")], "stopped"),
        ([container("gone")], "running"),
        ([container("gone", "restarting")], "error"),
    ],
)
def test_the_status_of_a_deployment(load: Load, containers: list[Container] | None, status: str) -> None:
    assert join(load(), containers).status == status


@pytest.mark.parametrize(
    "broken", [{"compose": "a: ["}, {"service": "a: ["}, {"compose": "services: {}", "service": "- a"}]
)
@pytest.mark.parametrize("containers", [[], [container()], [container(state="dead")]])
def test_a_broken_file_is_an_error_without_services(
    load: Load, broken: dict[str, str], containers: list[Container]
) -> None:
    deployment = join(load(**broken), containers)
    assert deployment.status == "error"
    assert deployment.services == ()
    assert deployment.problem


def test_docker_being_away_comes_before_everything_else(load: Load) -> None:
    deployment = join(load("a: ["), None)
    assert (deployment.status, deployment.services) == ("unknown", ())


def test_without_docker_services_are_unknown(load: Load) -> None:
    services = join(load(), None).services
    assert [(s.name, s.status, s.health, s.container_id) for s in services] == [
        ("web", "unknown", "none", None),
        ("db", "unknown", "none", None),
        ("job", "unknown", "none", None),
    ]


def test_services_come_in_the_order_of_the_file(load: Load) -> None:
    services = join(
        load(), [container("job", "exited", code=0), container("db", health="healthy"), container("web")]
    ).services
    assert [(s.name, s.status, s.health, s.replicas) for s in services] == [
        ("web", "running", "none", 1),
        ("db", "running", "healthy", 1),
        ("job", "exited", "none", 1),
    ]


def test_a_service_is_described(load: Load) -> None:
    web, db, job = join(load(), [container(number=3)]).services
    assert (web.container_id, web.image, web.ports) == ("3" * 12, "nginx:alpine", ("8080:80",))
    assert (web.networks, web.created_at) == (("proxy", "my-app_default"), CREATED)
    assert (db.status, db.ports, db.networks, db.created_at) == (
        "stopped",
        ("5432",),
        ("my-app_default",),
        None,
    )
    assert (job.image, job.ports) == ("my-app-job", ())


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        (["running", "running"], "running"),
        (["running", "created"], "created"),
        (["running", "paused"], "paused"),
        (["paused", "exited"], "exited"),
        (["exited", "removing"], "removing"),
        (["exited", "restarting"], "restarting"),
        (["restarting", "dead", "running"], "dead"),
        (["running", "wondering"], "wondering"),
    ],
)
def test_the_worst_replica_speaks(load: Load, states: list[str], worst: str) -> None:
    containers = [container(state=state, number=number, code=0) for number, state in enumerate(states, 1)]
    for order in (containers, containers[::-1]):
        service = join(load(), order).services[0]
        assert service.status == worst
        assert service.replicas == len(states)
        assert service.container_id == containers[states.index(worst)].id[:12]


def test_of_two_that_ended_the_failed_one_is_shown(load: Load) -> None:
    containers = [container(state="exited", code=0), container(state="exited", code=3, number=2)]
    assert join(load(), containers).services[0].container_id == "2" * 12


@pytest.mark.parametrize(
    ("healths", "worst"),
    [
        (["healthy", "healthy"], "healthy"),
        (["healthy", "starting"], "starting"),
        (["starting", "unhealthy", "healthy"], "unhealthy"),
        (["none", "healthy"], "healthy"),
        (["none", "none"], "none"),
    ],
)
def test_the_worst_health_counts(load: Load, healths: list[str], worst: str) -> None:
    containers = [container(health=health, number=number) for number, health in enumerate(healths, 1)]
    assert join(load(), containers).services[0].health == worst


def test_containers_of_a_run_do_not_speak_for_their_service(load: Load) -> None:
    service = join(load(), [container(state="exited", code=1, oneoff="True")]).services[0]
    assert (service.status, service.replicas) == ("stopped", 0)


def test_containers_are_grouped_by_project() -> None:
    foreign = Container("f" * 64, "x", "y", "running", "", "none", CREATED)
    assert by_project([container(), foreign, container("db")]) == {"my-app": [container(), container("db")]}


STATES = st.sampled_from(["running", "created", "restarting", "paused", "exited", "dead", "removing"])
CONTAINERS = st.builds(
    container,
    st.sampled_from(["web", "db", "gone"]),
    STATES,
    health=st.sampled_from(["none", "healthy", "starting", "unhealthy"]),
    code=st.none() | st.integers(0, 255),
    number=st.integers(1, 15),
    oneoff=st.sampled_from(["True", "False"]),
)


@given(st.lists(CONTAINERS, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_containers_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, containers: list[Container], random: object
) -> None:
    root = tmp_path_factory.mktemp("root", numbered=True)
    (root / "my-app").mkdir()
    (root / "my-app" / "compose.yml").write_text(COMPOSE)
    folder = Discovery(lambda: root).get("my-app")
    assert folder is not None
    shuffled = list(containers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = join(folder, containers), join(folder, shuffled)
    assert one.status == other.status in {"running", "stopped", "error"}
    assert [(s.status, s.health, s.replicas) for s in one.services] == [
        (s.status, s.health, s.replicas) for s in other.services
    ]
