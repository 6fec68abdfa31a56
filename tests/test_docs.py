"""The documents: what is generated is fresh, what is cut from files is theirs, and links lead somewhere."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from flask import Flask

from flatrun_core.testing.client import ApiClient
from flatrun_core.testing.document import operations
from flatrun_core.testing.fake_docker import FakeEngine
from flatrun_core.testing.serving import ServedPanel

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("packaging/*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def gen_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gen_docs", ROOT / "tools" / "gen_docs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_documents_and_code_blocks_are_fresh(gen_docs: ModuleType) -> None:
    stale = [
        path.name
        for path, text in gen_docs.documents().items()
        if not path.exists() or path.read_text() != text
    ]
    assert stale == [], "run python tools/gen_docs.py"


def test_a_stale_document_is_named(
    gen_docs: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ROOT / "docs" / "hooks.md"
    monkeypatch.setattr(gen_docs, "documents", lambda: {path: "something else"})
    assert gen_docs.main(["--check"]) == 1
    assert "docs/hooks.md is stale" in capsys.readouterr().err
    assert path.read_text() != "something else"


def test_documents_are_the_same_whenever_they_are_made(gen_docs: ModuleType) -> None:
    assert gen_docs.documents() == gen_docs.documents()


def test_every_hook_is_documented(gen_docs: ModuleType) -> None:
    for hook in gen_docs.hooks_of(ROOT / "hookspecs.py"):
        assert hook.text, hook.name
        assert hook.signature.startswith(f"{hook.name}(ctx: PluginContext"), hook.name


@pytest.mark.parametrize(
    ("document", "cut"),
    [
        ("<!-- code: F NAME -->\n```python\n```\n", "NAME = (\n    1\n)"),
        ("<!-- code: F NAME -->\n```python\nold\n\nlines\n```\n", "NAME = (\n    1\n)"),
        ("<!-- code: F thing -->\n```python\nold\n```\n", "@marked\ndef thing():\n    pass"),
    ],
)
def test_a_code_block_is_cut_anew(
    gen_docs: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, document: str, cut: str
) -> None:
    (tmp_path / "F").write_text("NAME = (\n    1\n)\n\n\n@marked\ndef thing():\n    pass\n")
    monkeypatch.setattr(gen_docs, "ROOT", tmp_path)
    after = "\nProse.\n\n```sh\nls\n```\n"
    head = document.splitlines()[0]
    assert gen_docs.with_code(document + after) == f"{head}\n```python\n{cut}\n```\n{after}"


def test_a_missing_definition_is_named(
    gen_docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "F").write_text("")
    monkeypatch.setattr(gen_docs, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="F defines no NAME"):
        gen_docs.cut(tmp_path / "F", "NAME")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name} links to {target}"
        if heading:
            found = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            assert heading in {anchor(text) for text in found}, f"{page.name} links to {target}"


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_document_names_exist(page: Path) -> None:
    folders = "docs|examples|flatrun_core|packaging|plugins|scripts|tests|tools"
    for name in re.findall(rf"(?<![\w/.])((?:{folders})/[\w./-]*\w)", page.read_text()):
        if "greeter" not in name:
            assert (ROOT / name).exists() or (page.parent / name).exists(), f"{page.name} names {name}"


def test_nobody_is_let_in(flatrun_app: Callable[..., Flask]) -> None:
    with ServedPanel(flatrun_app(plugins=["hello"])) as panel:
        document = panel.ask("GET", "/api/openapi.json").json()
        found = [one for one in operations(document) if one.path.startswith("/api/hello")]
        assert [str(one) for one in found] == ["GET /api/hello", "POST /api/hello"]
        for one in found:
            assert panel.ask(one.method, one.target({}), body=one.body_example).status == 401


def test_docker_in_memory(
    flatrun_app: Callable[..., Flask],
    flatrun_client: Callable[[Flask], ApiClient],
    fake_engine: FakeEngine,
) -> None:
    client = flatrun_client(flatrun_app(plugins=["deployments"]))
    blog = {"name": "blog", "compose": "services: {web: {image: nginx}}", "auto_start": True}
    assert client.post("/api/deployments", json=blog).status_code == 201
    assert [container.service for container in fake_engine.containers()] == ["web"]
    fake_engine.down = True
    assert client.get("/api/deployments/blog").get_json()["deployment"]["status"] == "unknown"
