"""A creation cannot take requests that the proxy means for another deployment's service."""

from collections.abc import Mapping
from typing import Any

import pytest

from flatrun_core.ports.docker import PROJECT_LABEL, SERVICE_LABEL
from flatrun_deployments.checks import checks

EXTERNAL = "networks:\n  proxy: {external: true}\n"
NAMED = "networks:\n  edge: {external: true, name: proxy}\n"
OLD = "networks:\n  edge: {external: {name: proxy}}\n"
DEFAULT = "networks:\n  default: {external: true, name: proxy}\n"
VARIABLE = "networks:\n  edge: {external: true, name: '${NET}'}\n"
OTHER = "networks:\n  other: {external: true}\n"


def compose(service: str, tail: str = "", name: str = "web") -> str:
    return f"services:\n  {name}: {{image: busybox, {service}}}\n{tail}"


@pytest.fixture
def blog(bench: Any) -> Any:
    """Return a panel with the deployment blog, which has the service web and is not routed."""
    bench.create("blog")
    return bench


@pytest.mark.parametrize(
    "text",
    [
        compose("networks: {proxy: {aliases: [blog-web]}}", EXTERNAL),
        compose("networks: {edge: {aliases: [x, Blog-Web.]}}", NAMED),
        compose("networks: {edge: {aliases: [blog-web]}}", OLD),
        compose("networks: {edge: {aliases: [blog-web]}}", VARIABLE),
        compose("networks: {proxy: {aliases: ['${WHO}-web']}}", EXTERNAL),
        compose("networks: {proxy: {aliases: ['${UNSET:-blog-web}']}}", EXTERNAL),
        compose("networks: [proxy]", EXTERNAL, name="blog-web"),
        compose("networks: [proxy], container_name: blog-web", EXTERNAL),
        compose("networks: [proxy], hostname: blog-web", EXTERNAL),
        compose("container_name: blog-web", DEFAULT),
        compose("network_mode: proxy, container_name: blog-web"),
        compose("extends: {file: more.yml, service: web}, container_name: blog-web"),
    ],
)
def test_a_name_of_anothers_service_on_the_proxy_network_is_refused(blog: Any, text: str) -> None:
    before = blog.tree()
    new = {"name": "evil", "compose": text, "env_vars": [{"key": "WHO", "value": "blog"}]}
    answer = blog.client.post("/api/deployments", json=new)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "NETWORK_NAME_TAKEN"), answer.get_json()
    assert "'blog'" not in answer.get_json()["error"]
    assert blog.tree() == before


@pytest.mark.parametrize(
    "text",
    [
        compose("networks: {proxy: {aliases: [fine-web, web]}}, container_name: fine-web", EXTERNAL),
        compose("networks: {other: {aliases: [blog-web]}}", OTHER),
        compose("container_name: blog-web"),
        compose("networks: {proxy: {aliases: ['${UNKNOWN}']}}", EXTERNAL),
    ],
)
def test_its_own_names_and_those_elsewhere_are_fine(blog: Any, text: str) -> None:
    blog.create("fine", text)


def test_a_deployment_whose_names_another_answers_to_already_is_refused(bench: Any) -> None:
    bench.create("early", compose("networks: {proxy: {aliases: [late-web]}}", EXTERNAL))
    assert bench.refused(409, "NETWORK_NAME_TAKEN", name="late")
    bench.create("other")


def finding(bench: Any) -> Any:
    panel = bench.app.extensions["flatrun"]
    (check,) = checks(panel.hooks.context("deployments"))
    return check.run()


def test_doctor_finds_who_answers_to_the_name_of_anothers_service(blog: Any) -> None:
    def add(name: str, labels: Mapping[str, str], **networks: tuple[str, ...]) -> None:
        blog.engine.add(name, state="running", labels=dict(labels)).networks.update(networks)

    own = {PROJECT_LABEL: "blog", SERVICE_LABEL: "web"}
    add("blog-web-1", own, proxy=("blog-web", "web"))
    add("elsewhere", {}, other=("blog-web",))
    assert finding(blog).status == "ok"
    add("thief", {PROJECT_LABEL: "thief", SERVICE_LABEL: "web"}, proxy=("BLOG-web",))
    found = finding(blog)
    assert (found.status, found.message) == ("error", "thief answers to blog-web, of 'blog'")
    blog.engine.down = True
    assert finding(blog).status == "warning"
