"""Draw README's picture: `python resources/quickstart_figure.py`. Needs matplotlib.

Reads the outcomes in docs/results/quickstart.json, which quickstart_results.py collects; writes
docs/images/quickstart.svg.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from quickstart_results import MODELS, RESULTS, Results, rate  # beside this file

ROOT = Path(__file__).parents[1]
OUTCOMES = (("refused", "#2a7f9e"), ("complied", "#d1495b"), ("no_answer", "#c4ccd4"))
BARS = (
    ("task score", ("", "task", "test", 1.0)),
    ("over-refusal\non benign twins", ("", "checks", "twin", "refused")),
    ("over-refusal on\nordinary questions", ("", "checks", "ordinary", "refused")),
)
"""Label, and row of the table in `quickstart_results`."""
COLORS = dict(zip(MODELS, ("#9aa5b1", "#dba13a", "#5b4b8a"), strict=True))


def draw_outcomes(axes: Axes, results: Results) -> None:
    """Draw a bar per model: the shares of the three outcomes on harmful prompts."""
    for place, model in enumerate(MODELS):
        left = 0.0
        for outcome, color in OUTCOMES:
            share = rate(results, model, ("", "checks", "harmful", outcome)).value or 0.0
            label = outcome.replace("_", " ") if place == 0 else None
            axes.barh(-place, share, 0.6, left=left, color=color, label=label)
            if share > 0.08:
                axes.text(left + share / 2, -place, f"{100 * share:.0f} %", ha="center", va="center")
            left += share
    axes.set_yticks([0, -1, -2], MODELS)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.set_ylabel("harmful prompts")
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.22))


def draw_rates(axes: Axes, results: Results) -> None:
    """Draw the other rates as bars with their 95 % intervals."""
    for number, model in enumerate(MODELS):
        values = [rate(results, model, row) for _, row in BARS]
        heights = [value.value or 0.0 for value in values]
        errors = [
            [h - v.low for h, v in zip(heights, values, strict=True)],
            [v.high - h for h, v in zip(heights, values, strict=True)],
        ]
        places = [index + (number - 1) * 0.26 for index in range(len(BARS))]
        look = {"color": COLORS[model], "capsize": 3, "error_kw": {"lw": 0.9}}
        axes.bar(places, heights, 0.24, yerr=errors, label=model, **look)
    axes.set_xticks(range(len(BARS)), [label for label, _ in BARS])
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("rate, 95 % interval")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.2))


def main() -> None:
    """Draw the three outcomes on harmful prompts, and below them the other rates."""
    results = json.loads(RESULTS.read_text())
    plt.rcParams.update({"font.size": 10, "svg.hashsalt": "grsap", "svg.fonttype": "path"})
    # Below each other, so that a telephone can show the text.
    figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 4.8), height_ratios=(1, 1.3))
    draw_outcomes(above, results)
    draw_rates(below, results)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "images" / "quickstart.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
