"""The manifest of a curation and its summary table. Neither contains text of queries or responses."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from grsap import __version__
from grsap.console import Console
from grsap.curation.curation import Curation
from grsap.curation.ledger import KEPT, Ledger
from grsap.curation.output import REJECTED, REPLAY, behaviours_of
from grsap.curation.steps import StepResult, counts_by_label
from grsap.curation.work import Work
from grsap.progress import duration

SCHEMA = "grsap.curation/1"
TIMINGS = "timings.json"
NUM_EXAMPLES = 10
NUM_NEIGHBOURS = 3


def manifest_of(
    settings: Curation, ledger: Ledger, work: Work, steps: list[StepResult], files: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the manifest, as docs/formats.md describes it. It has no times or paths: equal inputs give equal bytes."""
    raw = ledger.raw
    behaviours = behaviours_of(ledger)
    kept = (ledger.rejected_by == KEPT).nonzero()[0].tolist()
    return {
        "schema": SCHEMA,
        "grsap_version": __version__,
        "seed": settings.seed,
        "input": {"hash": raw.hash, "num_rows": len(raw), "files": raw.files},
        "models": models_of(settings),
        "steps": [
            {
                "name": step.name,
                "class_path": f"{type(step.filter).__module__}.{type(step.filter).__qualname__}",
                "settings": step.filter.settings(),
                "takes_rejected": sorted(step.filter.takes_rejected),
                "num_in": step.num_in,
                "num_kept": step.num_kept,
                "reasons": dict(sorted(step.reasons.items())),
                "audit": step.audit,
                "histograms": step.histograms,
                "counts": counts_by_label(step, ledger, behaviours),
            }
            for step in steps
        ],
        "counts": {
            "num_raw": len(raw),
            "num_replay": files[REPLAY]["num_rows"],
            "num_rejected": files[REJECTED]["num_rows"],
            "num_revised": sum(number in ledger.revised for number in kept),
            "rejected_by_reason": _rejected_by_reason(ledger, steps),
            "replay": _replay_table(ledger, kept, behaviours),
        },
        "neighbours": _neighbours(ledger, work, settings.seed),
        "files": files,
    }


def models_of(settings: Curation) -> dict[str, Any]:
    """Return the identities of embedder and judge, which must be prepared."""
    embedder, judge = settings.embedder, settings.judge
    return {
        "embedder": None if embedder is None else embedder.identity(),
        "judge": None
        if judge is None
        else {"name": judge.name, "revision": judge.revision, "is_proxy": judge.is_proxy},
    }


def _rejected_by_reason(ledger: Ledger, steps: list[StepResult]) -> list[dict[str, Any]]:
    found = Counter(
        (int(step), ledger.reason(number)) for number, step in enumerate(ledger.rejected_by) if step != KEPT
    )
    return [
        {"step": steps[step].name, "reason": reason, "num": num}
        for (step, reason), num in sorted(found.items(), key=lambda item: (item[0][0], str(item[0][1])))
    ]


def _replay_table(ledger: Ledger, kept: list[int], behaviours: list[str]) -> list[dict[str, Any]]:
    """Count the rows of the replay set by domain, behaviour and difficulty."""
    raw = ledger.raw
    found = Counter(
        (
            raw.domains[raw.domain_of[number]],
            behaviours[number],
            ledger.label(number, "difficulty") or "unlabelled",
        )
        for number in kept
    )
    return [
        {"domain": domain, "behaviour": behaviour, "difficulty": difficulty, "num": num}
        for (domain, behaviour, difficulty), num in sorted(found.items())
    ]


def _neighbours(ledger: Ledger, work: Work, seed: int) -> list[dict[str, Any]]:
    """Return the nearest rows, kept or not, of ten kept rows, by id; none if nothing was embedded."""
    numbers, vectors = work.embedded()
    kept = [place for place, number in enumerate(numbers) if ledger.rejected_by[number] == KEPT]
    chosen = sorted(random.Random(seed).sample(kept, min(NUM_EXAMPLES, len(kept))))
    examples = []
    for place in chosen:
        products = vectors @ vectors[place]
        products[place] = -2
        order = sorted(range(len(products)), key=lambda other: (-round(float(products[other]), 4), other))
        examples.append(
            {
                "id": ledger.raw.ids[numbers[place]],
                "neighbours": [
                    {
                        "id": ledger.raw.ids[numbers[other]],
                        "cosine": round(float(products[other]), 4),
                        "kept": bool(ledger.rejected_by[numbers[other]] == KEPT),
                    }
                    for other in order[:NUM_NEIGHBOURS]
                    if other != place
                ],
            }
        )
    return examples


def print_funnel(manifest: dict[str, Any], folder: Path, seconds: float, console: Console | None = None) -> None:
    """Print a row per filter: rows in, kept and rejected by reason; and the path of the replay set."""
    console = console or Console()
    table = Table(title="What was kept", title_justify="left")
    table.add_column("filter")
    for heading in ("in", "kept"):
        table.add_column(heading, justify="right")
    table.add_column("rejected, by reason")
    for step in manifest["steps"]:
        reasons = ", ".join(f"{reason} {num}" for reason, num in step["reasons"].items())
        name = f"{step['name']} (of the rejected)" if step["takes_rejected"] else step["name"]
        table.add_row(Text(name), f"{step['num_in']:,}", f"{step['num_kept']:,}", Text(reasons))
    console.print(table)
    counts = manifest["counts"]
    line = f"{counts['num_raw']:,} raw rows: {counts['num_replay']:,} for replay ({counts['num_revised']:,} revised), "
    console.print_line(f"{line}{counts['num_rejected']:,} rejected; {duration(seconds)}")
    console.print_line(f"replay set: {folder / REPLAY}")
