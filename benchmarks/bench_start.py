"""POST start of a stopped deployment of two services against `docker compose up -d` by hand."""

from lib.report import Row
from lib.stage import Stage
from lib.timing import interleaved, ran

COMPOSE = """\
services:
  one:
    image: {image}
    init: true
    command: [sleep, '86400']
  two:
    image: {image}
    init: true
    command: [sleep, '86400']
    depends_on: [one]
"""


def run(stage: Stage) -> list[Row]:
    """Two equal deployments, one started by the panel and one by hand, in turns."""
    ours, theirs = f"{stage.prefix}-panel", f"{stage.prefix}-hand"
    for name in (ours, theirs):
        stage.folder(name, COMPOSE.format(image=stage.image))
    stage.serve()
    by_hand = ["docker", "compose", "--project-directory", str(stage.root / theirs)]
    connection = stage.connection()

    def post(action: str) -> None:
        headers = {"Authorization": f"Bearer {stage.key}"}
        connection.request("POST", f"/api/deployments/{ours}/{action}", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{action} answered {answer.status}: {body!r}")

    def panel() -> None:
        post("start")

    def hand() -> None:
        ran(*by_hand, "up", "-d", "--remove-orphans")

    panel()
    hand()
    taken: list[list[float]] = []
    for _ in range(3 if stage.quick else 12):
        post("stop")
        ran(*by_hand, "stop")
        taken.append(interleaved(1, panel, hand))
    ours_taken, hand_taken = (sorted(side)[len(taken) // 2] for side in zip(*taken, strict=True))
    return [
        Row(
            "start of two services, of by hand",
            ours_taken / hand_taken,
            "x",
            1.15,
            "low",
            f"{ours_taken * 1000:.0f} ms; docker compose up -d: {hand_taken * 1000:.0f} ms",
        )
    ]
