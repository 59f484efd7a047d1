"""Draw README's picture from the two quickstart runs: `python resources/quickstart_figure.py`. Needs matplotlib.

Reads runs/quickstart/summary.json and runs/quickstart_plain/summary.json; writes docs/images/quickstart.svg.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
Rates = dict[str, dict[str, Any]]
"""By model and key."""

OUTCOMES = (
    ("refusal_rate", "refused", "#2a7f9e"),
    ("compliance_rate", "complied", "#d1495b"),
    ("no_answer_rate", "no answer", "#c4ccd4"),
)
BARS = (
    ("task_score", "task score"),
    ("over_refusal_rate_twins", "over-refusal\non benign twins"),
    ("over_refusal_rate_ordinary", "over-refusal on\nordinary questions"),
)
SERIES = (
    ("before", "aligned model", "#9aa5b1"),
    ("plain", "plain fine-tuning", "#dba13a"),
    ("replay", "with replay", "#5b4b8a"),
)


def read(name: str) -> dict[str, Any]:
    """A run's summary."""
    summary: dict[str, Any] = json.loads((ROOT / "runs" / name / "summary.json").read_text())
    return summary


def draw_outcomes(axes: Axes, rates: Rates) -> None:
    """Draw a bar per model: the shares of the three outcomes on harmful prompts."""
    for place, (key, _, _) in enumerate(SERIES):
        left = 0.0
        for metric, label, color in OUTCOMES:
            share = rates[key][metric]["value"]
            axes.barh(-place, share, 0.6, left=left, color=color, label=label if place == 0 else None)
            if share > 0.08:
                axes.text(left + share / 2, -place, f"{100 * share:.0f} %", ha="center", va="center")
            left += share
    axes.set_yticks([0, -1, -2], [label for _, label, _ in SERIES])
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.set_ylabel("harmful prompts")
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.22))


def draw_rates(axes: Axes, rates: Rates) -> None:
    """Draw the other rates as bars with their 95 % intervals."""
    for number, (key, label, color) in enumerate(SERIES):
        values = [rates[key][metric] for metric, _ in BARS]
        heights = [value["value"] for value in values]
        errors = [
            [max(0.0, v["value"] - v["low"]) for v in values],
            [max(0.0, v["high"] - v["value"]) for v in values],
        ]
        places = [index + (number - 1) * 0.26 for index in range(len(BARS))]
        axes.bar(places, heights, 0.24, yerr=errors, label=label, color=color, capsize=3, error_kw={"lw": 0.9})
    axes.set_xticks(range(len(BARS)), [label for _, label in BARS])
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("rate, 95 % interval")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.2))


def main() -> None:
    """Draw the three outcomes on harmful prompts, and below them the other rates."""
    replay, plain = read("quickstart"), read("quickstart_plain")
    rates = {"before": replay["before"], "plain": plain["after"], "replay": replay["after"]}
    plt.rcParams.update({"font.size": 10, "svg.hashsalt": "grsap", "svg.fonttype": "path"})
    # Below each other, so that a telephone can show the text.
    figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 4.8), height_ratios=(1, 1.3))
    draw_outcomes(above, rates)
    draw_rates(below, rates)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "images" / "quickstart.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
