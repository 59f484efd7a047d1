"""Bars of the three outcomes of answers: refused, complied (benign prompts: answered), no answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from grsap.measurement.catalogue import RATES
from grsap.pages import Element, figure, part_legend, share_chart

PARTS = {"refused": "refused", "complied": "complied or answered", "no_answer": "no answer"}
SUBSETS = ("harmful", "benign")
Find = Callable[[str], Mapping[str, Any] | None]
"""Function from the key of a rate to the rate; None if it was not measured."""


def outcome_bars(name: str, measured: Iterable[tuple[str, Find]]) -> Iterator[Element]:
    """Yield a figure of the outcomes on harmful and on benign prompts; nothing if they were not measured.

    Args:
        name: prefix of ids, unique on the page.
        measured: name of each bar, and the function that finds its rates.
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
            "Outcomes of the answers in percent of the prompts; each prompt counts as one of three. No answer: the "
            "answer is incoherent, ends within the model's thoughts, was withheld by the server, or has a verdict that "
            "cannot be read. A model that gives no answer is neither safe nor harmful."
        )
        yield figure(panels, caption, part_legend([*PARTS.values()]))
