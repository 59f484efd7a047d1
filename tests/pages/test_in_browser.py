"""A page in headless Chromium: nothing runs, nothing is asked for, and it reads well on screens and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pages.browser import MISSING, Browser, is_installed
from tests.pages.hostile import HOSTILE, UNSEEN

from grsap.pages import (
    Estimate,
    Section,
    Series,
    figure,
    hidden,
    line_chart,
    page,
    quoted,
    run_legend,
    table,
    write_page,
)

pytestmark = pytest.mark.skipif(not is_installed(), reason=MISSING)

TEXTS = [*HOSTILE, UNSEEN.replace("\ud800", "")]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with hostile text in each place that takes text."""
    rows = [[text, text, "1"] for text in TEXTS]
    series = [Series(text, style, [0, 1], [Estimate(0.2), Estimate(0.4)]) for style, text in enumerate(TEXTS)]
    drawn = figure([(TEXTS[0], line_chart("along", TEXTS[1], series))], TEXTS[2], run_legend(dict(enumerate(TEXTS))))
    blocks = [hidden(text, quoted(text)) for text in TEXTS]
    sections = [
        Section("rates", TEXTS[0], [table(TEXTS[1], TEXTS[:3], rows), drawn]),
        Section("texts", "Texts", blocks),
    ]
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, page(TEXTS[0], TEXTS[1], sections), holds_texts=True)
    return path


@pytest.fixture(scope="module", params=[True, False], ids=["with_scripts", "without_scripts"])
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium"), scripts=request.param) as browser:
        yield browser


def test_hostile_text_stays_text_and_nothing_is_asked_for(browser: Browser, path: Path) -> None:
    browser.open(path)
    assert browser.requested() == [path.as_uri()]
    assert browser.messages() == []
    assert browser.run("return document.title") == TEXTS[0]
    found = browser.run("return [...document.querySelectorAll('pre bdi')].map(each => each.textContent)")
    assert found[: len(HOSTILE)] == list(HOSTILE)
    assert "left [U+202E]right[U+202C]" in found[-1]
    assert browser.run("return document.querySelectorAll('script, iframe, link, base, img, #loose').length") == 0
    assert browser.run("return document.querySelectorAll('details').length") == len(TEXTS)
    acting = "[...document.querySelectorAll('*')].flatMap(each => [...each.attributes])"
    assert browser.run(f"return {acting}.filter(each => each.name.startsWith('on')).length") == 0


def test_texts_are_behind_a_click_that_needs_no_script(browser: Browser, path: Path) -> None:
    browser.open(path)
    heights = "return [...document.querySelectorAll('details')].slice(0, 2).map(each => each.offsetHeight)"
    closed = browser.run(heights)
    browser.click("details:nth-of-type(1) summary")
    opened = browser.run(heights)
    assert opened[0] > closed[0] + 20
    assert opened[1] == closed[1]


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_nothing_sticks_out_of_the_window(browser: Browser, path: Path, width: int) -> None:
    browser.open(path, width)
    assert browser.run("return document.documentElement.scrollWidth") == width


# WCAG's relative luminance of a colour, and the contrast of each of the page's colours with the paper.
LUMINANCE = """
const luminance = color => {
  const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const paper = luminance(getComputedStyle(document.body).backgroundColor);
"""
CONTRASTS = """
const probe = document.createElement("i");
document.body.append(probe);
const series = [1, 2, 3, 4, 5, 6].map(n => `--series-${n}`);
return ["--ink", "--muted", "--link", "--good", "--bad", "--open", ...series].map(name => {
  probe.style.color = `var(${name})`;
  const ink = luminance(getComputedStyle(probe).color);
  return [name, (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)];
});
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_colours_can_be_read_and_the_page_be_printed(browser: Browser, tmp_path: Path, path: Path, dark: bool) -> None:
    browser.show(dark=dark)
    browser.open(path)
    brightness = browser.run(f"{LUMINANCE} return paper")
    assert brightness < 0.02 if dark else brightness > 0.9
    contrasts = dict(browser.run(LUMINANCE + CONTRASTS))
    assert len(contrasts) == 12
    # WCAG: 4.5 for text, 3 for what is drawn.
    assert [name for name, value in contrasts.items() if value < (3 if "series" in name else 4.5)] == []
    assert browser.pdf(tmp_path / "page.pdf").startswith(b"%PDF")
    browser.show(dark=dark, paper=True)
    assert browser.run(f"{LUMINANCE} return paper") == 1
    browser.show()
