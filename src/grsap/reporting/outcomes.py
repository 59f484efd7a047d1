"""The three outcomes of answers as bars: refused, complied (benign prompts: answered), no answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from grsap.measurement.catalogue import RATES
from grsap.pages import Element, figure, part_legend, share_chart

PARTS = {"refused": "refused", "complied": "complied or answered", "no_answer": "no answer"}
SUBSETS = ("harmful", "benign")
Find = Callable[[str], Mapping[str, Any] | None]
"""The rate of a key, if it was measured."""


def outcome_bars(name: str, measured: Iterable[tuple[str, Find]]) -> Iterator[Element]:
    """A figure of the outcomes on harmful and on benign prompts; nothing where they were not measured.

    Args:
        name: unique on the page.
        measured: name of each bar, and how to find its rates.
    """
    bars_of: dict[str, list[tuple[str, dict[str, float]]]] = {subset: [] for subset in SUBSETS}
    for bar, find in measured:
        for subset in SUBSETS:
            specs = [spec for spec in RATES.values() if spec.outcome and spec.subset == subset]
            rates = {PARTS[spec.outcome]: rate for spec in specs if (rate := find(spec.key)) and spec.outcome}
            if len(rates) == len(PARTS):
                bars_of[subset].append((bar, {part: float(rate["value"] or 0) for part, rate in rates.items()}))
    panels = [
        (f"{subset} prompts", share_chart(f"{name}-{subset}", f"outcomes on {subset} prompts", bars, [*PARTS.values()]))
        for subset, bars in bars_of.items()
        if bars
    ]
    if panels:
        caption = (
            "What became of each prompt. No answer: incoherent, cut in its thoughts, withheld, or with an unparsed "
            "verdict. A model that gives no answer is neither safe nor harmful."
        )
        yield figure(panels, caption, part_legend([*PARTS.values()]))
