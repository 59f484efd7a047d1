"""There is no way from text to markup, and what could act is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pages.hostile import HOSTILE, UNSEEN
from tests.pages.html_check import Outline

from grsap.pages import element, escape, hidden, quoted, render, table
from grsap.pages.markup import visible


@pytest.mark.parametrize("text", HOSTILE)
def test_text_stays_text(text: str) -> None:
    page = Outline(render(element("p", text, attributes={"title": text})))
    assert (page.tags, page.text, page.faults) == (["p"], text + "\n", [])
    assert page.attributes == [("p", "title", text)]


@given(st.text())
def test_any_text_is_read_back_as_it_was(text: str) -> None:
    page = Outline("<!doctype html>" + render(element("pre", text)))
    assert page.tags == ["pre"]
    assert page.text == visible(text).replace("\r\n", "\n").replace("\r", "\n") + "\n"


def test_unseen_characters_are_shown_by_their_codes() -> None:
    assert visible("a\u202eb\tc\nd") == "a[U+202E]b\tc\nd"
    shown = escape(UNSEEN)
    assert shown.isprintable()
    for code in ("202E", "202C", "2066", "2069", "200B", "FEFF", "0000", "001B", "D800", "2028"):
        assert f"[U+{code}]" in shown
    # What writing in other scripts and emoji need stays: joiners, right-to-left letters, marks.
    for kept in ("سلام\u200cها", "👩\u200d👧", "שלום", "é", "日本"):
        assert visible(kept) == kept


@pytest.mark.parametrize(
    "tag", ["script", "SCRIPT", "style", "iframe", "object", "base", "form", "a b", "p><script", ""]
)
def test_elements_that_act_are_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="not allowed"):
        element(tag)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("onclick", "x"),
        ("OnLoad", "x"),
        ("a b", "x"),
        ("x>", "x"),
        ("href", "javascript:alert(1)"),
        ("href", " javascript:alert(1)"),
        ("href", "data:text/html,x"),
        ("href", "//elsewhere"),
        ("HREF", "JaVaScRiPt:x"),
        ("xlink:href", "javascript:x"),
        ("src", "http://x"),
        ("srcdoc", "x"),
        ("id", "a b"),
        ("style", "background: url(http://x)"),
        ("style", "background: URL( 'http://x')"),
        ("style", "width: expression(alert(1))"),
    ],
)
def test_attributes_that_act_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError):
        element("a", attributes={name: value})


def test_attributes_and_children() -> None:
    link = element(
        "a", ["one ", [2, None, element("b", "<3>")]], attributes={"href": "#x", "title": None, "hidden": True}
    )
    assert render(link) == '<a href="#x" hidden>one 2<b>&lt;3&gt;</b></a>'
    assert render(element("br")) == "<br>"
    clip = element("g", attributes={"style": "clip-path: url(#a)"})
    assert render(clip) == '<g style="clip-path: url(#a)"></g>\n'


def test_a_long_text_is_cut_and_says_so() -> None:
    assert Outline(render(quoted("x" * 50, 20))).text == "x" * 20 + " … 30 more characters\n"
    assert Outline(render(quoted("x" * 20, 20))).text == "x" * 20 + "\n"


def test_a_closed_block_and_a_table_are_balanced() -> None:
    whole = element(
        "div",
        hidden("two <answers>", quoted("</details>")),
        table(
            "how to read <it>",
            ["", "a"],
            [["row", ["1", element("br"), "2"]], ["<b>", "3"]],
            groups=[("", 1), ("g", 1)],
        ),
    )
    page = Outline(render(whole))
    assert page.faults == []
    assert page.tags.count("details") == 1
    assert page.tags.count("td") == 2
    assert ("th", "scope", "row") in page.attributes
