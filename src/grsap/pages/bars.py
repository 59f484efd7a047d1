"""Charts of counts: rows after each step of a funnel, distribution of scores around a cut, shares of a mixture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grsap.pages.charts import PANEL
from grsap.pages.drawing import BAD, FONT_SIZE, INK, MUTED, RULE, SERIES_COLORS, color_of, drawing, label, margins
from grsap.pages.markup import Element
from grsap.pages.numbers import count, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE = 440
_ROW = 40


@dataclass(frozen=True)
class FunnelStep:
    """A step of a funnel.

    Attributes:
        name: name of the step.
        num_left: rows that passed it.
        num_dropped: rows that it removed.
    """

    name: str
    num_left: int
    num_dropped: int = 0


def funnel_chart(name: str, title: str, steps: Sequence[FunnelStep]) -> Element:
    """Draw a bar per step, with removed rows in another colour."""
    size = (WIDE, 14 + _ROW * len(steps))
    whole = max([1, *(step.num_left + step.num_dropped for step in steps)])

    def paint(axes: Axes) -> None:
        margins(axes, size, left=4, right=4, top=6, bottom=6)
        for row, step in enumerate(steps):
            place = float(-row)
            counts = count(step.num_left) + (f"  (−{count(step.num_dropped)})" if step.num_dropped else "")
            axes.text(0, place + 0.3, label(step.name, 50), va="center", fontsize=FONT_SIZE, color=INK)
            axes.text(whole, place + 0.3, counts, va="center", ha="right", fontsize=FONT_SIZE, color=INK)
            axes.barh(place - 0.12, whole, 0.3, color=RULE, alpha=0.6)
            axes.barh(place - 0.12, step.num_left, 0.3, color=color_of(0))
            axes.barh(place - 0.12, step.num_dropped, 0.3, left=step.num_left, color=BAD, alpha=0.75)
        axes.set_xlim(0, whole)
        axes.set_ylim(-len(steps) + 0.55, 0.6)
        axes.set_axis_off()

    spoken = "; ".join(f"{step.name}: {step.num_left} left, {step.num_dropped} removed" for step in steps)
    return drawing(name, title, spoken, size, paint)


def histogram_chart(
    name: str,
    title: str,
    edges: Sequence[float],
    counts: Sequence[int],
    *,
    min_kept: float | None = None,
    max_kept: float | None = None,
    x_label: str = "score",
    log: bool = False,
) -> Element:
    """Draw a histogram with the cut as a dashed line; bars beyond the cut have another colour.

    Args:
        name: name that is unique on the page.
        title: title for screen readers.
        edges: N + 1 edges of the bins, ascending.
        counts: N counts.
        min_kept: scores below it were removed.
        max_kept: scores above it were removed.
        x_label: label of the axis of scores.
        log: whether the axis of scores is logarithmic.
    """

    def paint(axes: Axes) -> None:
        margins(axes, PANEL, left=46, right=14, top=22, bottom=44)
        for left, right, height in zip(edges, edges[1:], counts, strict=False):
            middle = math.sqrt(left * right) if log else (left + right) / 2
            is_out = (min_kept is not None and middle < min_kept) or (max_kept is not None and middle > max_kept)
            axes.bar(
                left, height, right - left, align="edge", color=BAD if is_out else color_of(0), alpha=0.85, linewidth=0
            )
        for cut in (min_kept, max_kept):
            if cut is not None and edges[0] <= cut <= edges[-1]:
                axes.axvline(cut, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
                scale = math.log if log else float
                place = (scale(cut) - scale(edges[0])) / ((scale(edges[-1]) - scale(edges[0])) or 1)
                side = "left" if place < 0.15 else "right" if place > 0.85 else "center"
                where = (cut, 1.03)
                axes.text(*where, number(cut, 3), transform=axes.get_xaxis_transform(), ha=side, color=INK)
        axes.set_xlabel(x_label)
        axes.set_xlim(edges[0], edges[-1])
        if log:
            _log_axis(axes, edges[-1] / edges[0])
        else:
            axes.locator_params(axis="x", nbins=5)
        axes.locator_params(axis="y", integer=True, nbins=5)
        axes.grid(axis="y")
        axes.tick_params(length=0, pad=6, colors=MUTED)

    cuts = ", ".join(number(cut, 4) for cut in (min_kept, max_kept) if cut is not None) or "none"
    spoken = f"{sum(counts)} scores from {number(edges[0])} to {number(edges[-1])}; cut: {cuts}"
    return drawing(name, title, spoken, PANEL, paint)


def _log_axis(axes: Axes, span: float) -> None:
    """Make the x axis logarithmic, with few ticks; the largest score is `span` times the smallest."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 100 else (1,), numticks=7))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else number(value, 3)))


def share_chart(
    name: str, title: str, bars: Sequence[tuple[str, Mapping[str, float]]], parts: Sequence[str]
) -> Element:
    """Draw bars of full length, each split into parts by their shares.

    Args:
        name: name that is unique on the page.
        title: title for screen readers.
        bars: (name, part -> amount); an empty bar stays empty.
        parts: order of the parts, which determines their colours.
    """
    size = (WIDE, 14 + _ROW * len(bars))

    def paint(axes: Axes) -> None:
        margins(axes, size, left=4, right=4, top=6, bottom=6)
        for row, (bar, amounts) in enumerate(bars):
            place, left = float(-row), 0.0
            total = sum(amounts.values())
            axes.text(0, place + 0.3, label(bar, 60), va="center", fontsize=FONT_SIZE, color=INK)
            for style, part in enumerate(parts):
                share = amounts.get(part, 0) / total if total else 0.0
                axes.barh(place - 0.14, share, 0.38, left=left, color=SERIES_COLORS[style % len(SERIES_COLORS)])
                if share > 0.09:
                    axes.text(left + share / 2, place - 0.14, percent(share), ha="center", va="center", color="#000004")
                left += share
        axes.set_xlim(0, 1)
        axes.set_ylim(-len(bars) + 0.5, 0.6)
        axes.set_axis_off()

    spoken = "; ".join(
        f"{bar}: "
        + ", ".join(f"{part} {percent(amounts.get(part, 0) / (sum(amounts.values()) or 1))}" for part in parts)
        for bar, amounts in bars
    )
    return drawing(name, title, spoken, size, paint)
