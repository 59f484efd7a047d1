"""Runs filters in order, and records decisions, counts and times."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grsap.curation.base import Filter
from grsap.curation.ledger import Ledger
from grsap.curation.work import Work
from grsap.plugins import PluginError

UNLABELLED = "unlabelled"


@dataclass(frozen=True, eq=False)
class StepResult:
    """Result of a filter.

    Attributes:
        name: name of its class, with a number if the class occurs more than once.
        filter: the filter.
        num_in: number of rows that it received.
        num_kept: rows that it kept; for a filter that receives rejected rows, rows that it restored.
        reasons: rejected rows by reason.
        audit, histograms: its notes for the manifest.
        seconds: its time in this call.
        rows: (num_in,) numbers of the rows that it received.
        outcomes: 1 for each row that was kept, else 0.
    """

    name: str
    filter: Filter
    num_in: int
    num_kept: int
    reasons: Counter[str]
    audit: dict[str, Any]
    histograms: list[dict[str, Any]]
    seconds: float
    rows: NDArray[np.intp]
    outcomes: bytearray


def names_of(filters: Sequence[Filter]) -> list[str]:
    """Return the names of filters, such as `Perplexity`, and `Perplexity-2` for a second one."""
    seen: Counter[str] = Counter()
    names = []
    for each in filters:
        name = type(each).__name__
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return names


def run_steps(filters: Sequence[Filter], ledger: Ledger, work: Work) -> list[StepResult]:
    """Apply filters in order.

    Raises:
        PluginError: a filter does not give one decision per row, or gives an invalid one.
    """
    return [
        _run(each, name, number, ledger, work)
        for number, (each, name) in enumerate(zip(filters, names_of(filters), strict=True))
    ]


def _run(each: Filter, name: str, number: int, ledger: Ledger, work: Work) -> StepResult:
    started = time.monotonic()
    work.audit, work.histograms = {}, []
    rows = ledger.rows(each.takes_rejected)
    reasons: Counter[str] = Counter()
    outcomes = bytearray()
    for row, decision in zip(rows.numbers.tolist(), each.checked_decisions(rows, work), strict=True):
        try:
            ledger.apply(row, decision, number)
        except (ValueError, KeyError) as error:
            problem = f"gives a decision with labels {dict(decision.labels)}"
            raise PluginError(each, "decide", problem, "Give labels and values that safety rows may have") from error
        outcomes.append(decision.keep)
        if decision.reason is not None:
            reasons[decision.reason] += 1
    return StepResult(
        name=name,
        filter=each,
        num_in=len(rows),
        num_kept=sum(outcomes),
        reasons=reasons,
        audit=work.audit,
        histograms=work.histograms,
        seconds=time.monotonic() - started,
        rows=rows.numbers,
        outcomes=outcomes,
    )


def counts_by_label(result: StepResult, ledger: Ledger, behaviours: Sequence[str]) -> list[dict[str, Any]]:
    """Count rows in and out of a step by domain and behaviour, as JSON rows `{domain, behaviour, num_in, num_kept}`.

    Args:
        result: result of the step.
        ledger: gives the rows' domains.
        behaviours: final behaviour of each row, by row number; `UNLABELLED` if there is none.
    """
    num_in: Counter[tuple[str, str]] = Counter()
    num_kept: Counter[tuple[str, str]] = Counter()
    raw = ledger.raw
    for number, kept in zip(result.rows.tolist(), result.outcomes, strict=True):
        key = raw.domains[raw.domain_of[number]], behaviours[number]
        num_in[key] += 1
        num_kept[key] += kept
    return [
        {"domain": domain, "behaviour": behaviour, "num_in": num, "num_kept": num_kept[domain, behaviour]}
        for (domain, behaviour), num in sorted(num_in.items())
    ]
