"""The documentation site: every setting is described, every page is in the navigation, and links lead to pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from resources.site import make_pages, settings
from resources.site.parsers import parser_of
from tests.page_blocks import ROOT

from grsap.objectives import Objective


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return settings.pages()


@pytest.mark.parametrize("verb", settings.PARSED)
def test_a_verbs_page_has_each_of_its_keys(verb: str, pages: dict[str, str]) -> None:
    keys = {action.dest.rpartition(".")[2] for action in settings.actions_of(parser_of(verb))}
    assert set(re.findall(r"^\| `(\w+)`<br>", pages[f"{verb}.md"], re.MULTILINE)) == keys


def test_a_setting_has_key_type_default_and_meaning(pages: dict[str, str]) -> None:
    assert "| `max_length`<br>integer<br>default `1024` | upper limit of tokens per row, prompt and" in pages["fit.md"]
    assert "| `path`<br>text<br>required | a Hub id, a folder, or `embedded:NAME`" in pages["fit.md"]
    ratio = pages["classes.md"].split("\n## RatioSampler\n")[1].split("\n## ")[0]
    assert "| `control`<br>`total`, `downstream`<br>default `total` | `total` keeps N rows per epoch" in ratio
    assert "RatioSampler](#ratiosampler)" in pages["classes.md"].split("\n## Sampler\n")[1].split("\n## ")[0]


def test_lightnings_defaults_are_not_told_where_grsap_has_others(pages: dict[str, str]) -> None:
    assert "1000" not in pages["fit.md"]
    assert "grsap rejects a value that writes no checkpoints and no adapter." in pages["fit.md"]


def test_a_setting_without_a_line_in_a_docstring_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Objective):
        """Says nothing of its argument."""

        def __init__(self, margin: float = 1.0) -> None:
            super().__init__("task", margin, "silent")

        def token_losses(self, chunk):  # type: ignore[no-untyped-def]
            raise NotImplementedError

    monkeypatch.setattr(Silent, "__module__", "grsap.objectives")
    monkeypatch.setattr("grsap.objectives.Silent", Silent, raising=False)
    monkeypatch.setattr(settings, "subclasses_of", lambda kind: [Silent] if kind is Objective else [])
    with pytest.raises(settings.UndocumentedError, match="Silent: margin"):
        settings.pages()


def test_every_page_of_docs_is_in_the_navigation() -> None:
    def entries(nav: object) -> list[str]:
        if isinstance(nav, str):
            return [nav]
        return [page for each in (nav if isinstance(nav, list) else nav.values()) for page in entries(each)]  # type: ignore[attr-defined]

    listed = entries(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    written = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    written = [name for name in written if not name.startswith("decisions/")]
    made = [*make_pages.PAGES.values(), *(f"reference/{verb}.md" for verb in settings.PARSED), "reference/classes.md"]
    made += [f"api/{name}.md" for name in ("index", *make_pages.PACKAGES)]
    assert sorted(listed) == sorted([*written, *made])
    assert all(path.name in make_pages.decisions_page() for path in (ROOT / "docs" / "decisions").glob("0*.md"))


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("README.md", "[a](docs/formats.md#probes)", "[a](formats.md#probes)"),
        ("README.md", "![a](docs/images/a.svg) [b](docs/decisions)", "![a](images/a.svg) [b](decisions/index.md)"),
        ("docs/decisions/1.md", "[a](../../benchmarks/README.md#on-a-gpu)", "[a](../benchmarks.md#on-a-gpu)"),
        ("docs/paper_map.md", "[`a`](../src/grsap/data/plan.py), [b](paper.md)", "`a`, [b](paper.md)"),
        ("docs/a.md", "[a](https://arxiv.org/abs/1)", "[a](https://arxiv.org/abs/1)"),
        ("docs/a.md", "```yaml my.yaml\n[a](../b)\n```\n", '```yaml title="my.yaml"\n[a](../b)\n```\n'),
    ],
)
def test_links_and_titles_are_those_of_the_site(source: str, text: str, expected: str) -> None:
    assert make_pages.site_text(text, source) == expected


def test_the_builder_is_pinned() -> None:
    lines = Path(ROOT / "docs" / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in lines if not line.startswith("#"))


def test_each_decision_has_a_number_of_its_own() -> None:
    names = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
    titles = [(ROOT / "docs" / "decisions" / name).read_text().partition(":")[0] for name in names]
    assert titles == [f"# {name[:4]}" for name in names]
