"""GET stats of a deployment of ten containers against `docker stats` and the Engine's own call."""

from lib.report import Row
from lib.stage import Stage
from lib.timing import interleaved, ran

COMPOSE = """\
services:
  web:
    image: {image}
    init: true
    network_mode: none
    command: [sleep, '86400']
    deploy: {{replicas: 10}}
"""


def run(stage: Stage) -> list[Row]:
    """In turns; the first answer, which has nothing to compare with, is measured by itself."""
    name = f"{stage.prefix}-ten"
    folder = stage.folder(name, COMPOSE.format(image=stage.image))
    ran("docker", "compose", "--project-directory", str(folder), "up", "-d")
    label = {"label": f"com.docker.compose.project={name}"}
    ids = [container["Id"] for container in stage.engine.containers(filters=label)]
    stage.serve()
    stage.call("GET", f"/api/deployments/{name}")

    def panel() -> None:
        status, body = stage.call("GET", f"/api/deployments/{name}/stats")
        assert status == 200
        assert len(body["services"]) == 10

    def command() -> None:
        ran("docker", "stats", "--no-stream", *ids)

    def one_call() -> None:
        stage.engine.stats(ids[0], stream=False)

    first = interleaved(1, panel)[0]
    ours, by_hand, engine = interleaved(2 if stage.quick else 5, panel, command, one_call)
    against = f"docker stats: {by_hand:.2f} s; one Engine call for one container: {engine:.2f} s"
    return [
        Row("stats of ten containers", ours * 1000, "ms", 150, "low", against),
        Row("stats of ten containers, first call", first * 1000, "ms", 150, "low"),
        Row("stats, times faster", by_hand / ours, "x", 10, "high", "docker stats --no-stream"),
    ]
