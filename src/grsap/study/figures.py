"""Published figures beside measured ones: means of rows of evaluations, similarities and curations, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from grsap.errors import DataError
from grsap.json_text import read_json

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """A number of the paper, or a user-defined one, and the rows of a study's stages that it is measured from.

    Args:
        name: name of the figure.
        stages: pattern of stage names, such as `evaluate/*/llama3_8b/*`.
        where: key of a row -> pattern of its value: `{subject: gr_sap, metric: harmfulness_rate}`.
        published: the published number, rates as fractions; null if there is none.
        source: place in the paper, or another reference.
    """

    name: str
    stages: str
    where: dict[str, str] = field(default_factory=dict)
    published: float | None = None
    source: str = ""

    def measure(self, summaries: Mapping[str, Path]) -> dict[str, Any]:
        """Measure the figure: the mean over benchmarks of each benchmark's mean over stages.

        The errors of benchmarks are treated as independent, because their prompts differ; those of the same prompts in
        several stages as fully dependent. A number in a stage's name (`evaluate/{task}/{seed}`) is its seed. With
        several seeds the figure is of a recipe, and the interval includes the variation of seeds beside that of
        prompts.

        Args:
            summaries: summary file of each stage by name; missing files are skipped.

        Returns:
            `{value, low, high, num_rows, covers_published, unit}`; values are null if no row matches or one has no
            value, and `unit` is left out. `unit` is what the interval is over: "prompts", or "seeds and prompts".
        """
        from grsap.metrics import independent_mean_interval, seed_interval  # imports torch, not needed otherwise

        rows = [
            (_seed_of(name), row)
            for name, path in summaries.items()
            if fnmatchcase(name, self.stages)
            for row in rows_of(path, self.where)
            if all(_fits(row.get(key), pattern) for key, pattern in self.where.items())
        ]
        if not rows or any(row["value"] is None for _, row in rows):
            return {"value": None, "low": None, "high": None, "num_rows": len(rows), "covers_published": None}
        value, low, high = independent_mean_interval(_means([row for _, row in rows]))
        by_seed = {each: [row for seed, row in rows if seed == each] for each, _ in rows}
        unit = "prompts" if len(by_seed) == 1 else "seeds and prompts"
        if len(by_seed) > 1:
            values = [independent_mean_interval(_means(of_seed))[0] for of_seed in by_seed.values()]
            value, low, high = seed_interval(values, (value - low, high - value))
        covers = None if self.published is None else low <= self.published <= high
        return {
            "value": value,
            "low": low,
            "high": high,
            "num_rows": len(rows),
            "covers_published": covers,
            "unit": unit,
        }


def _seed_of(stage: str) -> str:
    """The numbers among the parts of a stage's name."""
    return "/".join(part for part in stage.split("/") if part.isdigit())


def _means(rows: Sequence[Row]) -> list[tuple[float, float, float]]:
    """(value, low, high) of each benchmark, each the mean over its rows."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row.get("benchmark", "")), []).append(row)
    return [
        (
            _mean([row["value"] for row in group]),
            _mean([row["low"] for row in group]),
            _mean([row["high"] for row in group]),
        )
        for group in groups.values()
    ]


def rows_of(summary: Path, where: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows of a stage's summary that have a value and an interval; none if the file is missing.

    Args:
        summary: the file.
        where: as in `Figure`. A filter that rejected nothing for its `reason` gives a row with the value 0.

    Raises:
        DataError: the file cannot be read.
    """
    if not summary.is_file():
        return
    try:
        found = read_json(summary)
        yield from found.get("rates", [])
        yield from found.get("measures", [])
        yield from (row for step in found.get("steps", []) for row in _rejections(step, where))
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"cannot be read: {error}", "Remove the stage's folder, and run the study again", path=summary
        ) from error


def _rejections(step: Mapping[str, Any], where: Mapping[str, str]) -> Iterator[Row]:
    """Yield the share of its rows that a filter of a curation rejected, for each reason."""
    from grsap.metrics import share_interval

    if not step["num_in"]:
        return
    counted = {where["reason"]: 0} if "reason" in where and _fits(step["name"], where.get("step", "")) else {}
    for reason, num in {**counted, **step["reasons"]}.items():
        low, high = share_interval(num, step["num_in"])
        yield {"step": step["name"], "reason": reason, "value": num / step["num_in"], "low": low, "high": high}


def _fits(value: Any, pattern: str) -> bool:
    return value is not None and fnmatchcase(str(value), pattern)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
