"""Published figures beside measured ones."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from grsap.study import Figure


def row(benchmark: str, value: float | None, half: float = 0.1, **names: str) -> dict[str, Any]:
    ends = {"low": None, "high": None} if value is None else {"low": value - half, "high": value + half}
    return {"benchmark": benchmark, "subject": "own", "metric": "harm", "value": value, **ends, **names}


def summaries(folder: Path, **rows: list[dict[str, Any]]) -> dict[str, Path]:
    found = {}
    for name, each in rows.items():
        found[f"evaluate/{name}"] = folder / f"{name}.json"
        found[f"evaluate/{name}"].write_text(json.dumps({"rates": each}))
    return found


def test_means_over_stages_and_then_over_benchmarks(tmp_path: Path) -> None:
    files = summaries(
        tmp_path,
        one=[row("x", 0.2), row("y", 0.6, 0.2), row("x", 0.9, subject="other")],
        two=[row("x", 0.4), row("y", 0.8, 0.2)],
    )
    ours = Figure("harm", "evaluate/*", {"subject": "own", "metric": "harm"}, published=0.4).measure(files)
    # x: .3 +- .1, y: .7 +- .2; independent of each other.
    half = sqrt(0.1**2 + 0.2**2) / 2
    assert ours["num_rows"] == 4
    assert ours["value"] == pytest.approx(0.5)
    assert (ours["low"], ours["high"]) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))
    assert ours["covers_published"] is True
    assert (
        Figure("harm", "evaluate/one", {"benchmark": "x", "subject": "own"}, 0.31).measure(files)["covers_published"]
        is False
    )


def test_a_figure_without_measured_rows_is_null(tmp_path: Path) -> None:
    files = summaries(tmp_path, one=[row("x", None)]) | {"evaluate/later": tmp_path / "missing.json"}
    nothing = {"value": None, "low": None, "high": None, "covers_published": None}
    assert Figure("a", "evaluate/one", {"benchmark": "x"}, 0.1).measure(files) == {**nothing, "num_rows": 1}
    assert Figure("a", "evaluate/later", {}, 0.1).measure(files) == {**nothing, "num_rows": 0}


def test_a_curations_rejections_are_shares_of_the_rows_that_the_filter_received(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"steps": [{"name": "Harmlessness", "num_in": 50, "reasons": {"harmful_response": 5}}]}))
    where = {"step": "Harmlessness", "reason": "harmful_response"}
    ours = Figure("unsafe", "curate/*", where, 0.1).measure({"curate/a": path})
    assert (ours["value"], ours["covers_published"]) == (0.1, True)
    assert (ours["low"], ours["high"]) == (pytest.approx(0.0333, abs=1e-4), pytest.approx(0.2181, abs=1e-4))  # exact


def test_a_reason_for_which_nothing_was_rejected_counts_as_none(tmp_path: Path) -> None:
    steps = {
        "some": [{"name": "Harmlessness", "num_in": 50, "reasons": {"harmful_response": 5}}],
        "none": [
            {"name": "Completeness", "num_in": 60, "reasons": {"cut": 10}},
            {"name": "Harmlessness", "num_in": 50, "reasons": {}},
        ],
        "empty": [{"name": "Harmlessness", "num_in": 0, "reasons": {}}],
    }
    files = {f"curate/{name}": tmp_path / f"{name}.json" for name in steps}
    for name, each in steps.items():
        files[f"curate/{name}"].write_text(json.dumps({"steps": each}))
    where = {"step": "Harmlessness", "reason": "harmful_response"}
    assert Figure("unsafe", "curate/none", where).measure(files)["value"] == 0.0
    both = Figure("unsafe", "curate/*", where).measure(files)
    assert (both["value"], both["num_rows"]) == (pytest.approx(0.05), 2)


def test_several_seeds_vary_beside_the_prompts(tmp_path: Path) -> None:
    """Seeds in the name of a stage: Student's interval of .2, .4 and .6, joined with the one over prompts."""
    files = {
        name.replace("_", "/", 2): path
        for name, path in summaries(
            tmp_path, **{f"x_{seed}": [row("x", 0.2 * seed), row("y", 0.2 * seed)] for seed in (1, 2, 3)}
        ).items()
    }
    assert "evaluate/x/1" in files
    ours = Figure("harm", "evaluate/x/*", {"subject": "own"}, published=0.0).measure(files)
    half = sqrt((4.303 * 0.2 / sqrt(3)) ** 2 + 0.1**2 / 2)
    assert (ours["value"], ours["unit"]) == (pytest.approx(0.4), "seeds and prompts")
    assert (ours["low"], ours["high"]) == (pytest.approx(0.4 - half, abs=1e-3), pytest.approx(0.4 + half, abs=1e-3))
    assert ours["covers_published"] is True
    assert Figure("harm", "evaluate/x/1", {"subject": "own"}).measure(files)["unit"] == "prompts"
