"""Creations and removals of deployments, as far as their domains go."""

from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Failed, Level

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['8080']\n  api:\n    image: busybox\n"


def creating(bench: Any, status: int, code: str, **metadata: Any) -> dict[str, Any]:
    answer: dict[str, Any] = bench.refused(
        status, code, "POST", "/api/deployments", name="new", compose=COMPOSE, metadata=metadata
    )
    return answer


def test_a_creation_with_domains_is_served_at_once(bench: Any) -> None:
    created = bench.create(
        "new",
        metadata={
            "domains": [
                {
                    "id": "primary",
                    "service": "api",
                    "domain": "New.Example",
                    "container_port": 3000,
                    "path_prefix": "/x/",
                    "ssl": {"enabled": True},
                    "aliases": ["www.new.example."],
                }
            ]
        },
    )
    assert created["proxy_result"]["certificate_exists"] is True
    (domain,) = bench.domains("new")
    assert (domain["id"], domain["domain"], domain["aliases"]) == (
        "primary",
        "new.example",
        ["www.new.example"],
    )
    assert (domain["path"], domain["ssl"]) == ("/x", {"enabled": True, "auto_cert": True})
    metadata = bench.client.get("/api/deployments/new").get_json()["deployment"]["metadata"]
    networking = metadata["networking"]
    assert (networking["expose"], networking["domain"]) == (True, "new.example")
    assert (networking["service"], networking["container_port"]) == ("api", 3000)
    assert bench.hosts("new")[0].tls is not None
    assert [(event.deployment, event.added) for event in bench.edge.events] == [
        ("new", ("new.example", "www.new.example"))
    ]


def test_a_creation_with_the_single_domain_is_served(bench: Any) -> None:
    bench.create("new", metadata={"networking": {"expose": True, "domain": "new.example"}})
    assert bench.domains("new")[0]["id"] == "default"
    assert bench.hosts("new")[0].routes[0].upstream == "new-web"


def test_domains_of_a_creation_that_is_not_exposed_wait(bench: Any) -> None:
    created = bench.create(
        "new", metadata={"networking": {"expose": False}, "domains": [{"domain": "new.example"}]}
    )
    assert created["proxy_result"] is None
    assert bench.proxy.sites == {}
    assert bench.domains("new")[0]["domain"] == "new.example"


@pytest.mark.parametrize(
    "metadata",
    [
        {"networking": {"expose": True, "domain": "taken.example"}},
        {"domains": [{"domain": "taken.example"}]},
        {"domains": [{"domain": "new.example", "aliases": ["taken.example"]}]},
        {"networking": {"expose": False}, "domains": [{"domain": "taken.example"}]},
    ],
)
def test_a_creation_with_a_host_that_is_routed_is_refused(bench: Any, metadata: dict[str, Any]) -> None:
    bench.add("taken.example")
    assert creating(bench, 409, "DOMAIN_EXISTS", **metadata)["deployment"] == "blog"
    assert not (bench.root / "new").exists()
    bench.create("new", metadata={"domains": [{"domain": "new.example"}]})


@pytest.mark.parametrize(
    "entries",
    [
        [{"domain": "a.example", "aliases": ["a.example"]}],
        [{"domain": "a.example", "strip_prefix": True}],
        [{"domain": "a.example", "proxy_timeout": 0}],
        [{"domain": "a.example", "max_body_size": "lots"}],
        [{"domain": "a.example", "id": "bad id"}],
        [{"domain": "a.example", "id": "x"}, {"domain": "b.example", "id": "x"}],
        [{"domain": "a.example"}, {"domain": "a.example", "path": "/"}],
        [{"domain": "a.example"}, {"domain": "b.example", "aliases": ["a.example"]}],
        [{"path": "/x"}],
    ],
)
def test_a_creation_with_entries_that_cannot_be_is_refused(bench: Any, entries: list[dict[str, Any]]) -> None:
    creating(bench, 400, "VALIDATION_ERROR", domains=entries)
    assert not (bench.root / "new").exists()


def test_a_creation_with_a_service_that_is_not_there_is_refused(bench: Any) -> None:
    creating(bench, 400, "SERVICE_NOT_FOUND", domains=[{"domain": "a.example", "service": "nope"}])
    assert not (bench.root / "new").exists()


def test_who_may_not_read_it_is_not_told_whose_a_host_is(
    bench: Any, flatrun_login: Callable[..., Any]
) -> None:
    bench.add("taken.example")
    client = flatrun_login(bench.app, ["deployments:write"])
    body = {"name": "new", "compose": COMPOSE, "metadata": {"domains": [{"domain": "taken.example"}]}}
    answer = client.post("/api/deployments", json=body)
    assert answer.get_json()["code"] == "DOMAIN_EXISTS"
    assert "blog" not in answer.get_data(as_text=True)
    assert (
        flatrun_login(bench.app, ["deployments:write"], {"blog": Level.READ})
        .post("/api/deployments", json=body)
        .get_json()["deployment"]
        == "blog"
    )


def test_a_creation_that_fails_later_frees_its_host(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from flatrun_deployments.construction import Construction

    def fail(self: Construction) -> None:
        raise Failed("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Construction, "commit", fail)
        creating(bench, 500, "INTERNAL_ERROR", domains=[{"domain": "a.example"}])
    bench.add("a.example")


@pytest.mark.parametrize("auto_ssl", [True, False])
def test_an_exposed_creation_without_a_domain_gets_one(
    make_bench: Callable[..., Any], auto_ssl: bool
) -> None:
    bench = make_bench(
        **{
            "domain.default_domain": "example.com",
            "domain.auto_subdomain": True,
            "domain.auto_ssl": auto_ssl,
        }
    )
    bench.create("new", metadata={"networking": {"expose": True}})
    (domain,) = bench.domains("new")
    assert domain["domain"].endswith(".example.com")
    assert domain["ssl"]["enabled"] is auto_ssl
    assert [host.name for host in bench.hosts("new")] == [domain["domain"]]
    assert (bench.hosts("new")[0].tls is not None) is auto_ssl
    bench.create("own", metadata={"networking": {"expose": True, "domain": "own.example"}})
    assert [one["domain"] for one in bench.domains("own")] == ["own.example"]
    bench.create("hidden")
    assert bench.domains("hidden") == []


def test_without_the_setting_an_exposed_creation_has_no_domain(bench: Any) -> None:
    created = bench.create("new", metadata={"networking": {"expose": True}})
    assert created["proxy_result"]["skipped"] is True
    assert bench.domains("new") == []


def test_a_creation_under_a_name_that_the_proxy_keeps_has_no_domains(bench: Any) -> None:
    body = {"name": "default", "compose": COMPOSE, "metadata": {"domains": [{"domain": "a.example"}]}}
    bench.refused(400, "RESERVED_NAME", "POST", "/api/deployments", **body)


def test_no_lock_is_held_while_a_creation_asks_an_authority(bench: Any) -> None:
    bench.create("new", metadata={"domains": [{"domain": "a.example", "ssl": {"enabled": True}}]})
    assert bench.certificates.asked == [(("a.example",), "new")]
    assert "locks" not in bench.certificates.refuse


def remove(bench: Any, query: str = "", name: str = "blog") -> dict[str, Any]:
    answer: dict[str, Any] = bench.done("DELETE", f"/api/deployments/{name}{query}")
    return answer


@pytest.mark.parametrize("query", ["", "?remove_files=true"])
def test_a_removal_takes_site_and_certificates_along(bench: Any, query: str) -> None:
    bench.add("a.example", ssl={"enabled": True})
    bench.edge.events.clear()
    assert remove(bench, query)["deleted_items"] == ["virtual_host", "ssl_certificate:a.example"]
    assert bench.proxy.sites == {}
    assert bench.certificates.known == []
    assert [(event.deployment, event.removed) for event in bench.edge.events] == [("blog", ("a.example",))]
    bench.create("shop")
    bench.add("a.example", "shop")


def test_a_certificate_that_is_used_or_to_be_kept_stays(bench: Any) -> None:
    bench.add("a.example", ssl={"enabled": True})
    assert remove(bench, "?delete_ssl=false")["deleted_items"] == ["virtual_host"]
    bench.create("shop")
    bench.certificates.give("s.example", "t.example")
    bench.add("s.example", "shop", ssl={"enabled": True})
    bench.create("other")
    bench.add("t.example", "other", ssl={"enabled": True})
    assert remove(bench, "", "other")["deleted_items"] == ["virtual_host"]
    assert [one.name for one in bench.certificates.known] == ["a.example", "s.example"]


def test_a_removal_of_what_was_never_served_names_nothing(bench: Any) -> None:
    assert remove(bench)["deleted_items"] == []


def test_a_site_that_is_to_be_kept_outlives_its_deployment(
    bench: Any, make_bench: Callable[..., Any]
) -> None:
    bench.add("a.example", ssl={"enabled": True})
    before = bench.hosts()
    assert remove(bench, "?delete_vhost=false&remove_files=true")["deleted_items"] == []
    bench.look()
    assert bench.hosts() == before
    bench.create("shop")
    bench.refused(409, "DOMAIN_EXISTS", "POST", "/api/deployments/shop/domains", domain="a.example")
    again = make_bench()
    again.look()
    assert again.hosts() == before
    assert again.done("DELETE", "/api/proxy/blog")["name"] == "blog"
    assert again.hosts() == []
    again.refused(404, "DEPLOYMENT_NOT_FOUND", "DELETE", "/api/proxy/blog")
    again.add("a.example", "shop")


def test_a_kept_site_goes_when_a_deployment_of_that_name_comes(bench: Any) -> None:
    bench.add("a.example")
    remove(bench, "?delete_vhost=false")
    assert bench.hosts()
    bench.create()
    assert bench.hosts() == []
    bench.create("shop")
    bench.add("a.example", "shop")


def test_a_kept_site_comes_back_when_its_successor_fails(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from flatrun_deployments.construction import Construction

    def fail(self: Construction) -> None:
        raise Failed("the disk is full")

    bench.add("a.example")
    remove(bench, "?delete_vhost=false&remove_files=true")
    with monkeypatch.context() as patched:
        patched.setattr(Construction, "commit", fail)
        bench.refused(500, "INTERNAL_ERROR", "POST", "/api/deployments", name="blog", compose=COMPOSE)
    bench.look()
    assert [host.name for host in bench.hosts()] == ["a.example"]


def test_a_proxy_that_fails_is_a_warning_of_the_removal(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise Failed("the Engine is away")

    bench.add("a.example")
    with monkeypatch.context() as patched:
        patched.setattr(bench.proxy, "apply", fail)
        assert remove(bench)["warnings"] == ["domains: the Engine is away"]
    bench.look()
    assert bench.proxy.sites == {}


def test_a_removal_that_fails_half_way_serves_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from flatrun_deployments.removal import Remover

    def fail(*_: Any) -> Any:
        raise Failed("the disk is full")

    bench.add("a.example")
    with monkeypatch.context() as patched:
        patched.setattr(Remover, "_remove_files", fail)
        bench.refused(500, "INTERNAL_ERROR", "DELETE", "/api/deployments/blog")
    assert bench.hosts() == []
    bench.look()
    assert [host.name for host in bench.hosts()] == ["a.example"]


def test_what_is_not_exposed_stays_so_when_an_entry_is_changed_or_removed(bench: Any) -> None:
    first = bench.add("a.example")["domain"]["id"]
    second = bench.add("b.example")["domain"]["id"]
    bench.done("DELETE", "/api/proxy/blog")
    path = "/api/deployments/blog/domains"
    bench.done("PUT", f"{path}/{first}", domain="c.example")
    bench.done("DELETE", f"{path}/{second}")
    assert "expose: false" in bench.file().read_text()
    bench.look()
    assert bench.proxy.sites == {}
    bench.add("d.example")
    assert {host.name for host in bench.hosts()} == {"c.example", "d.example"}


def test_the_entries_of_a_creation_have_service_and_port_as_added_ones(bench: Any) -> None:
    bench.create(
        "new", metadata={"domains": [{"domain": "a.example"}, {"domain": "b.example", "service": "api"}]}
    )
    text = bench.file("new").read_text()
    metadata = bench.client.get("/api/deployments/new").get_json()["deployment"]["metadata"]
    stored = [(one["service"], one["container_port"]) for one in metadata["domains"]]
    assert stored == [("web", 8080), ("api", 80)]
    assert (metadata["networking"]["service"], metadata["networking"]["container_port"]) == ("web", 8080)
    assert text.count("container_port: 8080") == 2
    added = bench.add("c.example", "new")["domain"]
    assert (added["service"], added["port"]) == ("web", 8080)


@pytest.mark.parametrize(
    ("networking", "expected"),
    [
        ({"container_port": 3000}, ("web", 3000)),
        ({"service": "api", "container_port": 3000}, ("api", 3000)),
        ({"service": "api"}, ("api", 80)),
    ],
)
def test_what_the_single_domain_fields_say_counts_for_the_entries_of_a_creation(
    bench: Any, networking: dict[str, Any], expected: tuple[str, int]
) -> None:
    bench.create("new", metadata={"networking": networking, "domains": [{"domain": "a.example"}]})
    (domain,) = bench.domains("new")
    assert (domain["service"], domain["port"]) == expected
    metadata = bench.client.get("/api/deployments/new").get_json()["deployment"]["metadata"]
    assert (metadata["networking"]["service"], metadata["networking"]["container_port"]) == expected
