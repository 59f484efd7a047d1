"""Result files of an evaluation: `evaluation.json`, a tidy CSV, and a manifest. No text of prompts or answers."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grsap import __version__
from grsap.checksums import write_checked_json
from grsap.files import write_atomic, write_json
from grsap.json_text import read_object
from grsap.streams import spreadsheet_text
from grsap.versions import installed_versions

SCHEMA = "grsap.evaluation/1"
MANIFEST_SCHEMA = "grsap.evaluation_manifest/1"
RESULTS = "evaluation.json"
TABLE = "evaluation.csv"
MANIFEST = "manifest.json"
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "tokenizers", "numpy", "scipy")

RATE_COLUMNS = (
    "value",
    "low",
    "high",
    "min_value",
    "max_value",
    "num_prompts",
    "num_samples",
    "num_true",
    "num_unparsed",
    "is_best",
)
CHANGE_COLUMNS = (
    "against",
    "difference",
    "low",
    "high",
    "num_pairs",
    "num_worse",
    "num_better",
    "p_value",
    "p_holm",
    "smallest_detectable_difference",
    "margin",
    "verdict",
    "verdict_reason",
    "ratio_excess",
)
KEY = ("subject", "benchmark", "judge", "metric", "subset")


def write_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Write `evaluation.json` and `evaluation.csv`, each atomically."""
    write_checked_json(folder / RESULTS, {"schema": SCHEMA, "grsap": __version__, **results})
    write_atomic(folder / TABLE, csv_text(results))


def csv_text(results: Mapping[str, Any]) -> str:
    """Return one row per subject, benchmark, judge, metric and subset: the rate, and its change from the baseline."""
    subjects = {subject["name"]: subject for subject in results["subjects"]}
    changes = {
        tuple(row[name] for name in KEY): row
        for row in results["comparisons"]
        if row["against"] == subjects[row["subject"]]["start"]
    }
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    change_names = [f"change_{name}" if name in ("low", "high") else name for name in CHANGE_COLUMNS]
    writer.writerow([*KEY[:1], "role", "run", "step", *KEY[1:], *RATE_COLUMNS, *change_names])
    for row in results["rates"]:
        subject, change = subjects[row["subject"]], changes.get(tuple(row[name] for name in KEY), {})
        cells = [
            row["subject"],
            *(subject[name] for name in ("role", "run", "step")),
            *(row[name] for name in (*KEY[1:], *RATE_COLUMNS)),
            *(change.get(name) for name in CHANGE_COLUMNS),
        ]
        writer.writerow([_cell(value) for value in cells])
    return file.getvalue()


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest atomically."""
    head = {"schema": MANIFEST_SCHEMA, "grsap": __version__, "packages": installed_versions(PACKAGES)}
    write_json(folder / MANIFEST, {**head, **manifest})


def read_cost(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the costs by stage and name that earlier calls wrote to the manifest; empty without a manifest."""
    cost = read_object(folder / MANIFEST).get("cost")
    return cost if isinstance(cost, dict) else {}


def _cell(value: Any) -> Any:
    """Return a CSV cell: empty for None, and no text that a spreadsheet would run as a formula."""
    if value is None:
        return ""
    return spreadsheet_text(value) if isinstance(value, str) else value
