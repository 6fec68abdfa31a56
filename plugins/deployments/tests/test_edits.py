"""Edits of a deployment's service.yml: what is kept, and who is told."""

from typing import Any

import pytest


def test_an_edit_keeps_comments_and_tells(bench: Any) -> None:
    bench.create()
    file = bench.root / "blog" / "service.yml"
    file.write_text("# mine\nname: blog  # too\nextra: {a: 1}\n")
    with bench.deployments.edit("blog") as document:
        document["type"] = "web"
    assert file.read_text() == "# mine\nname: blog  # too\nextra: {a: 1}\ntype: web\n"
    assert bench.neighbours["neighbour"].events[-1][0] == "changed"


def test_an_edit_that_fails_puts_the_bytes_back_and_tells_nobody(bench: Any) -> None:
    bench.create()
    file = bench.root / "blog" / "service.yml"
    before = file.read_bytes()

    def failing() -> None:
        with bench.deployments.edit("blog") as document:
            document["type"] = "web"
            document.save()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert file.read_bytes() == before
    assert [what for what, _ in bench.neighbours["neighbour"].events] == ["created"]
