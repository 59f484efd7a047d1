"""Drawings: marks stand where their numbers say, texts stay texts, colours are the page's."""

from __future__ import annotations

import re
import sys

import pytest
from tests.pages.html_check import Outline

from grsap.errors import MissingPackageError
from grsap.pages import (
    Change,
    Element,
    Estimate,
    FunnelStep,
    Series,
    Trade,
    change_chart,
    figure,
    funnel_chart,
    histogram_chart,
    line_chart,
    part_legend,
    render,
    run_legend,
    share_chart,
    trade_chart,
)
from grsap.pages.charts import PANEL
from grsap.pages.drawing import label

NAME = "run <b>$x$</b>"
HALF = Estimate(0.5, 0.25, 0.75)


def charts() -> list[Element]:
    return [
        line_chart("a", "along", [Series(NAME, 0, [0, 10], [HALF, Estimate(0.75, 0.5, 1)])]),
        change_chart("b", "change", [Change(NAME, 1, HALF, Estimate(1.0)), Change("second", 2, None, HALF)]),
        trade_chart("c", "trade", [Trade(NAME, 3, (HALF, HALF), (Estimate(0.25), HALF))], x_label="x <1>", y_label="y"),
        funnel_chart("d", "funnel", [FunnelStep("raw", 40), FunnelStep(NAME, 30, 10)]),
        histogram_chart("e", "scores", [0, 1, 2, 3], [4, 5, 6], min_kept=1.0),
        share_chart("f", "shares", [("planned", {"task": 3, "replay": 1}), ("none", {})], ["task", "replay"]),
    ]


def points_of(chart: Element, color: str) -> list[tuple[float, float]]:
    """Places of the markers of a colour, in pixels from the upper left corner."""
    return [
        (float(str(each.get("x"))), float(str(each.get("y"))))
        for each in chart.walk()
        if each.tag == "use" and color in str(each.get("style"))
    ]


@pytest.mark.parametrize("chart", charts(), ids=lambda chart: str(chart.get("aria-labelledby")))
def test_a_drawing_is_valid_accessible_and_takes_the_pages_colours(chart: Element) -> None:
    text = render(chart)
    outline = Outline(text)
    assert outline.faults == []
    assert chart.get("role") == "img"
    described = [each for each in chart.walk() if each.tag in ("title", "desc")]
    assert str(chart.get("aria-labelledby")).split() == [each.get("id") for each in described]
    assert all(each.children and str(each.children[0]) for each in described)
    assert "#0000" not in text
    assert "font-family" not in text
    assert "<style" not in text
    assert "<b>" not in text
    if NAME in outline.text:
        assert text.count("run &lt;b&gt;$x$&lt;/b&gt;") >= 1


def test_marks_of_a_change_stand_at_their_shares() -> None:
    chart = change_chart("b", "change", [Change("run", 0, Estimate(0.0), Estimate(0.5))])
    left, right = 14, PANEL[0] - 22
    assert [x for x, _ in points_of(chart, "series-1")] == pytest.approx([left, (left + right) / 2])
    assert "run: 0.0 % to 50.0 %" in Outline(render(chart)).text


def test_marks_of_a_line_stand_at_their_steps_and_shares() -> None:
    chart = line_chart("a", "along", [Series("run", 0, [0, 10], [Estimate(0.0), Estimate(1.0)])])
    (x0, y0), (x1, y1) = points_of(chart, "series-1")
    height = PANEL[1] - 10 - 44
    assert (y0, y1) == pytest.approx((10 + height, 10))
    assert x0 < x1


def test_bars_have_the_length_of_their_counts() -> None:
    chart = funnel_chart("d", "funnel", [FunnelStep("raw", 40), FunnelStep("filter", 30, 10)])
    found = {}
    for each in chart.walk():
        color = re.search(r"fill: var\(--([\w-]+)\)", str(each.get("style")))
        if each.tag == "path" and color:
            xs = [float(x) for x in re.findall(r"[ML] ([\d.]+)", str(each.get("d")))]
            found.setdefault(color[1], []).append(max(xs) - min(xs))
    full = found["series-1"][0]
    assert found["series-1"][1] / full == pytest.approx(0.75, abs=1e-4)
    assert max(found["bad"]) / full == pytest.approx(0.25, abs=1e-4)


def test_bins_beyond_the_cut_have_the_other_colour() -> None:
    text = render(histogram_chart("e", "scores", [0, 1, 2, 3], [4, 5, 6], min_kept=1.0, max_kept=2.5))
    fills = re.findall(r"<path[^>]*style=\"fill: var\(--(bad|series-1)\)", text)
    assert fills == ["bad", "series-1", "series-1"]  # the last bin's middle lies at the cut
    assert "15 scores from 0 to 3; cut: 1, 2.5" in text


def test_drawings_do_not_share_ids() -> None:
    whole = figure([("first", charts()[0]), ("second", charts()[1])], "caption", run_legend({0: NAME}, hollow="before"))
    page = Outline(render(whole))
    assert page.faults == []
    assert NAME in page.text
    assert Outline(render(part_legend(["task", "<replay>"]))).faults == []


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert [render(each) for each in charts()] == [render(each) for each in charts()]


def test_labels_are_one_short_line() -> None:
    assert label("a\n b\u202e") == "a b[U+202E]"
    assert label("x" * 30 + "y" * 30, 21) == "x" * 10 + "…" + "y" * 10


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        MissingPackageError, match=r"matplotlib is not installed\. Install grsap with the extra `report`"
    ):
        charts()
