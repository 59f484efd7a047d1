"""Charts of rates and numbers with intervals: over steps, before and after, one against another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grsap.pages.drawing import DASHES, FONT_SIZE, INK, MARKERS, MUTED, SURFACE, color_of, drawing, label, margins
from grsap.pages.markup import Element
from grsap.pages.numbers import number, percent, percent_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = (336, 216)
SQUARE = (352, 320)


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, if there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    def spoken(self) -> str:
        """Format the number as a share, for a screen reader."""
        interval = percent_interval(self.low, self.high)
        return percent(self.value) + (f" ({interval})" if interval else "")


@dataclass(frozen=True)
class Series:
    """Numbers over steps; `style` determines colour, marker and dashes."""

    name: str
    style: int
    steps: Sequence[float]
    estimates: Sequence[Estimate]


@dataclass(frozen=True)
class Change:
    """A number of one run before and after; either may be missing."""

    name: str
    style: int
    before: Estimate | None
    after: Estimate | None


@dataclass(frozen=True)
class Trade:
    """Two numbers of one run, before and after."""

    name: str
    style: int
    before: tuple[Estimate, Estimate] | None
    after: tuple[Estimate, Estimate]


def line_chart(
    name: str, title: str, series: Sequence[Series], *, x_label: str = "optimizer step", shares: bool = True
) -> Element:
    """Draw lines with their intervals as bands.

    Args:
        name: name that is unique on the page.
        title: title for screen readers.
        series: non-empty series.
        x_label: label of the x axis.
        shares: whether numbers are shares in [0, 1], shown in percent from 0 to 100.
    """

    def paint(axes: Axes) -> None:
        margins(axes, PANEL, left=46, right=14, top=10, bottom=44)
        for each in series:
            color, style = color_of(each.style), each.style
            values = [point.value for point in each.estimates]
            lows = [point.low for point in each.estimates if point.low is not None]
            highs = [point.high for point in each.estimates if point.high is not None]
            if len(lows) == len(values) == len(highs):
                axes.fill_between(each.steps, lows, highs, color=color, alpha=0.16, linewidth=0)
            few = len(values) <= 20
            axes.plot(
                each.steps,
                values,
                color=color,
                linestyle=DASHES[style % len(DASHES)],
                marker=MARKERS[style % len(MARKERS)] if few else None,
                markersize=6,
                markeredgecolor=SURFACE,
                linewidth=2 if few else 1.5,
            )
        axes.set_xlabel(x_label)
        axes.locator_params(axis="x", integer=True, nbins=6)
        axes.grid(axis="y")
        _share_axis(axes, "y") if shares else axes.margins(y=0.08)
        axes.tick_params(length=0, pad=6)

    written = percent if shares else number
    spoken = "; ".join(
        f"{each.name}: {written(each.estimates[0].value)} at step {each.steps[0]:g}, "
        f"{written(each.estimates[-1].value)} at step {each.steps[-1]:g}"
        for each in series
    )
    return drawing(name, title, spoken, PANEL, paint)


def change_chart(name: str, title: str, changes: Sequence[Change]) -> Element:
    """Draw a row per run with a hollow marker before, a filled one after, and intervals, from 0 to 100 %."""
    size = (PANEL[0], 34 + 62 * len(changes))

    def paint(axes: Axes) -> None:
        margins(axes, size, left=14, right=22, top=6, bottom=26)
        for row, each in enumerate(changes):
            place = float(-row)
            color, marker = color_of(each.style), MARKERS[each.style % len(MARKERS)]
            axes.text(0, place + 0.34, label(each.name), va="center", fontsize=FONT_SIZE, color=INK)
            for estimate, offset, is_filled in ((each.before, 0.06, False), (each.after, -0.18, True)):
                if estimate is not None:
                    _whisker(axes, estimate, place + offset, color, marker, is_filled=is_filled)
        axes.set_ylim(-len(changes) + 0.52, 0.58)
        axes.set_yticks([])
        axes.grid(axis="x")
        _share_axis(axes, "x")
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=0, pad=6)

    spoken = "; ".join(
        f"{each.name}: " + " to ".join(point.spoken() for point in (each.before, each.after) if point is not None)
        for each in changes
    )
    return drawing(name, title, spoken, size, paint)


def trade_chart(name: str, title: str, trades: Sequence[Trade], *, x_label: str, y_label: str) -> Element:
    """Draw runs as arrows from before (hollow) to after (filled) on two axes of shares, with intervals as crosses."""

    def paint(axes: Axes) -> None:
        margins(axes, SQUARE, left=64, right=22, top=12, bottom=46)
        for each in trades:
            color, marker = color_of(each.style), MARKERS[each.style % len(MARKERS)]
            if each.before is not None:
                axes.annotate(
                    "",
                    xy=(each.after[0].value, each.after[1].value),
                    xytext=(each.before[0].value, each.before[1].value),
                    arrowprops={
                        "arrowstyle": "->",
                        "color": color,
                        "alpha": 0.6,
                        "linewidth": 1.5,
                        "shrinkA": 6,
                        "shrinkB": 7,
                    },
                )
                _cross(axes, each.before, color, marker, is_filled=False)
            _cross(axes, each.after, color, marker, is_filled=True)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid()
        _share_axis(axes, "x")
        _share_axis(axes, "y")
        axes.tick_params(length=0, pad=6)

    spoken = "; ".join(
        f"{each.name}: {x_label} {each.after[0].spoken()}, {y_label} {each.after[1].spoken()}" for each in trades
    )
    return drawing(name, title, spoken, SQUARE, paint)


def _whisker(axes: Axes, estimate: Estimate, place: float, color: str, marker: str, *, is_filled: bool) -> None:
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [place, place], color=color, linewidth=2, alpha=0.55)
    axes.plot([estimate.value], [place], clip_on=False, **_dot(color, marker, is_filled=is_filled))


def _cross(axes: Axes, at: tuple[Estimate, Estimate], color: str, marker: str, *, is_filled: bool) -> None:
    x, y = at
    if x.low is not None and x.high is not None:
        axes.plot([x.low, x.high], [y.value, y.value], color=color, linewidth=1.5, alpha=0.5)
    if y.low is not None and y.high is not None:
        axes.plot([x.value, x.value], [y.low, y.high], color=color, linewidth=1.5, alpha=0.5)
    axes.plot([x.value], [y.value], clip_on=False, **_dot(color, marker, is_filled=is_filled))


def _dot(color: str, marker: str, *, is_filled: bool) -> dict[str, Any]:
    fill = color if is_filled else SURFACE
    return {"color": color, "marker": marker, "markersize": 8, "markerfacecolor": fill, "markeredgecolor": color}


def _share_axis(axes: Axes, which: str) -> None:
    ticks, words = [0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"]
    if which == "x":
        axes.set_xlim(0, 1)
        axes.set_xticks(ticks, words)
    else:
        axes.set_ylim(0, 1)
        axes.set_yticks(ticks, words)
    axes.tick_params(colors=MUTED)
