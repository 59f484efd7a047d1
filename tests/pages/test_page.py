"""A page as a file: what may be replaced, who may read it, and that it is whole."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.pages.html_check import Outline

from grsap.errors import ConfigError
from grsap.pages import Section, element, page, write_page


def any_page(title: str = "A page", *ids: str) -> str:
    return page(
        title, "of <nothing>", [Section(each, each.title(), [element("p", each)]) for each in ids or ("one", "two")]
    )


def test_a_page_is_balanced_and_its_links_lead_somewhere() -> None:
    outline = Outline(any_page("Title <b>"))
    assert outline.faults == []
    assert outline.tags[:2] == ["html", "head"]
    assert "script" not in outline.tags
    assert {value for _, name, value in outline.attributes if name == "href"} == {"#one", "#two"}
    assert "of <nothing>" in outline.text


def test_an_id_may_stand_once() -> None:
    with pytest.raises(ValueError, match=r"\['one'\]"):
        any_page("A page", "one", "one")


def test_who_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, any_page(), holds_texts=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    write_page(path, any_page("Second"), holds_texts=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "<title>Second</title>" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "<!doctype html><title>mine</title>", "x" * 5000 + any_page()])
def test_a_file_of_the_users_own_is_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"exists and is not a page of grsap\. Give another name"):
        write_page(path, any_page(), holds_texts=False)
    assert path.read_text() == content


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        write_page(tmp_path, any_page(), holds_texts=False)
