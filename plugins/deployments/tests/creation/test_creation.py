"""What a creation writes, answers and starts."""

from typing import Any

import pytest

from flatrun_core import Unavailable


@pytest.mark.parametrize(
    "text",
    [
        "services:\r\n  web:\r\n    image: busybox\r\n",
        "\ufeffservices:\n  web: {image: busybox}",
        "# größer ✓\nservices:\n  web:   {image:  busybox}\n\n\n# end",
    ],
)
def test_the_compose_text_is_kept_byte_for_byte(bench: Any, text: str) -> None:
    bench.create(compose=text)
    assert (bench.root / "blog" / "docker-compose.yml").read_bytes() == text.encode()
    assert bench.client.get("/api/deployments/blog").get_json()["compose_content"] == text


def test_a_plain_creation_answers_the_contracts_body_and_starts_nothing(bench: Any) -> None:
    assert bench.create() == {
        "message": "Deployment created",
        "name": "blog",
        "auto_started": False,
        "start_output": "",
        "start_error": "",
        "registry_login_error": "",
        "proxy_result": None,
    }
    assert bench.compose.commands() == ["config"]
    assert (bench.root / "blog").stat().st_mode & 0o777 == 0o755
    assert sorted(path.name for path in (bench.root / "blog").iterdir()) == [
        "docker-compose.yml",
        "service.yml",
    ]


def test_auto_start_starts_and_tells_everybody(bench: Any) -> None:
    answer = bench.create(auto_start=True)
    assert answer["auto_started"] is True
    assert "Started" in answer["start_output"]
    assert not answer["start_error"]
    events = [(what, event.name) for what, event in bench.neighbours["neighbour"].events]
    assert events == [("created", "blog"), ("started", "blog")]


def test_a_start_that_fails_leaves_the_deployment_and_is_told(bench: Any) -> None:
    bench.compose.fail_next("no such image: busybox", command="up")
    answer = bench.create(auto_start=True)
    assert answer["auto_started"] is True
    assert "no such image" in answer["start_output"]
    assert answer["start_error"]
    assert bench.names() == ["blog"]
    assert [what for what, _ in bench.neighbours["neighbour"].events] == ["created"]


def test_variables_go_into_the_env_file_and_empty_keys_are_dropped(bench: Any) -> None:
    variables = [{"key": "A", "value": 'x"y\nz'}, {"key": "", "value": "lost"}, {"key": "B"}]
    bench.create(env_vars=variables)
    file = bench.root / "blog" / ".env.flatrun"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == 'A="x\\"y\\nz"\nB=\n'


def test_folders_that_services_mount_from_beside_the_file_are_made(bench: Any) -> None:
    volumes = (
        "['./data:/d', './conf.d:/c', './nginx.conf:/n', 'named:/v', '../up:/u', '/etc:/e', './a/b:/ab:ro']"
    )
    bench.create(compose=f"services:\n  a: {{image: x, volumes: {volumes}}}\nvolumes: {{named: }}\n")
    made = {str(p.relative_to(bench.root / "blog")) for p in (bench.root / "blog").rglob("*") if p.is_dir()}
    assert made == {"data", "conf.d", "a", "a/b"}


def test_request_metadata_is_kept_and_domains_are_normalised(bench: Any) -> None:
    domains = [
        {"id": "primary", "domain": "Bücher.Example.", "aliases": ["WWW.example.com"], "container_port": 80}
    ]
    bench.create(metadata={"name": "Books", "domains": domains, "created_at": "1999-01-01T00:00:00Z", "x": 1})
    found = bench.client.get("/api/deployments/blog").get_json()["deployment"]["metadata"]
    assert found["name"] == "Books"
    assert found["domains"][0]["domain"] == "xn--bcher-kva.example"
    assert found["domains"][0]["aliases"] == ["www.example.com"]
    assert not found["created_at"].startswith("1999")


def test_without_docker_a_deployment_can_be_prepared(bench: Any) -> None:
    bench.engine.down = True
    bench.compose.fail_next(error=Unavailable("not installed", code="COMPOSE_MISSING"), command="config")
    bench.create()
    item = bench.client.get("/api/deployments").get_json()[0]
    assert (item["status"], item["services"][0]["status"]) == ("unknown", "unknown")
