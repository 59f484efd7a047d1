"""A page in one file, without scripts or external resources, readable on any screen and on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grsap
from grsap.errors import ConfigError
from grsap.files import write_atomic
from grsap.pages.markup import Content, Element, element, escape, render

STYLESHEET = Path(__file__).with_name("style.css")
GENERATOR = '<meta name="generator" content="grsap '
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes:
        id: fragment of its address, such as `cost`.
        title: heading.
        content: content below the heading.
    """

    id: str
    title: str
    content: Sequence[Content]


def page(title: str, subtitle: Content, sections: Sequence[Section]) -> str:
    """Return the HTML of a page with a list of its sections.

    Args:
        title: plain text.
        subtitle: source of the page's data.
        sections: sections with distinct ids.

    Raises:
        ValueError: an id occurs twice.
    """
    body = element("body", _header(title, subtitle, sections), element("main", map(_section, sections)), _footer())
    ids = [value for each in body.walk() if (value := each.get("id"))]
    twice = {value for value in ids if ids.count(value) > 1}
    if twice:
        raise ValueError(f"ids occur twice on the page: {sorted(map(str, twice))}")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{GENERATOR}{grsap.__version__}">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLESHEET.read_text(encoding='utf-8')}</style>\n</head>\n"
        f"{render(body)}\n</html>\n"
    )


def check_target(path: str | Path) -> None:
    """Check that writing a page replaces nothing but a page of grsap.

    Raises:
        ConfigError: `path` is a folder, a dangling link, or a file that is no page of grsap.
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", "Give the name of a file, such as page.html")
    if path.is_symlink() and not path.exists():
        raise ConfigError(f"{path} is a link to a missing file", "Give another name, or remove it")
    if path.exists():
        with path.open("rb") as file:
            beginning = file.read(1000)
        if GENERATOR.encode() not in beginning:
            raise ConfigError(f"{path} exists and is not a page of grsap", "Give another name, or move the file away")


def write_page(path: str | Path, text: str, *, holds_texts: bool) -> None:
    """Write a page atomically.

    Args:
        path: file to write.
        text: HTML of the page.
        holds_texts: whether it contains texts of queries or responses; it is then readable by its owner only.

    Raises:
        ConfigError: the path exists and is no page of grsap.
    """
    check_target(path)
    write_atomic(path, text, mode=0o600 if holds_texts else 0o644)


def _header(title: str, subtitle: Content, sections: Sequence[Section]) -> Element:
    links = [element("li", element("a", section.title, attributes={"href": f"#{section.id}"})) for section in sections]
    return element(
        "header",
        element("h1", title),
        element("p", subtitle, attributes={"class": "subtitle"}),
        element("nav", element("ul", links), attributes={"aria-label": "sections"}) if len(links) > 1 else None,
    )


def _section(section: Section) -> Element:
    heading = element("h2", section.title)
    return element("section", heading, *section.content, attributes={"id": section.id})


def _footer() -> Element:
    return element(
        "footer", element("p", f"Made by grsap {grsap.__version__}. This file loads nothing and runs nothing.")
    )
