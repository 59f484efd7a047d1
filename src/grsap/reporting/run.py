"""Read a run folder of `grsap fit` for the sections of the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from grsap.measurement.catalogue import RATES, RateSpec, has_answer_outcomes, rates_in
from grsap.pages import Estimate
from grsap.records import read_jsonl
from grsap.reporting.sources import Json, Source, reading
from grsap.runs.metrics import is_step, read_metrics


def main_rates() -> list[RateSpec]:
    """Return the rates of `summary.json`, except shares of all answers."""
    return [spec for spec in rates_in("summary") if spec.group != "answers"]


def headline_rates() -> list[RateSpec]:
    """Return the main rates: task score, refusals, and the rates that fine-tuning must not raise."""
    return [spec for spec in main_rates() if spec.is_guarded or spec.decides == "task" or spec.key == "refusal_rate"]


def answer_shares() -> list[RateSpec]:
    """Return the shares of incoherent and truncated answers."""
    return [spec for spec in rates_in("log") if spec.group == "answers"]


@dataclass(frozen=True)
class Run:
    """A run, and its style in all figures.

    Args:
        source: folder of the run.
        style: index of colour, marker and dashes, from 0.
    """

    source: Source
    style: int

    @property
    def name(self) -> str:
        """Name of the run on the page."""
        return self.source.name

    @property
    def summary(self) -> Json:
        """Content of `summary.json`; empty for an unfinished run."""
        return self.source.result if self.source.result.get("status", "finished") == "finished" else {}

    @property
    def changes(self) -> Json:
        """Key of a rate -> its paired change."""
        return self.summary.get("changes") or {}

    @property
    def manifest(self) -> Json:
        """Content of `manifest.json`."""
        return self.source.manifest

    @property
    def is_proxy(self) -> bool:
        """Whether the judge sees refusals only; inferred from the first transcript if the run is unfinished."""
        if self.summary:
            return bool(self.summary.get("harmfulness_is_proxy"))
        labels = ("response_harmful", "response_refusal")
        said = [any(row.get(label) is not None for row in self._first_transcript) for label in labels]
        return said == [False, True]

    @property
    def judge(self) -> str | None:
        """Name of the judge, from the first transcript if the run is unfinished; None if unknown."""
        names = ("refusal_rate", "over_refusal_rate", "harmfulness_rate")
        rates = [self.rate(moment, name) for moment in ("after", "before") for name in names]
        judge = next((str(rate["judge"]) for rate in rates if rate and rate.get("judge")), None)
        return judge or next((str(row["judge"]) for row in self._first_transcript if row.get("judge")), None)

    def label(self, spec: RateSpec) -> str:
        """Return the name of a rate for the judge of this run."""
        return spec.name(self.is_proxy)

    def check(self) -> None:
        """Check that summary and manifest have the values that the page needs.

        Raises:
            DataError: a value is missing or has a wrong type; names the folder.
        """
        with reading(self.source):
            for moment in ("before", "after"):
                for spec in rates_in("log"):
                    self.estimate(moment, spec.key)
            for change in self.changes.values():
                _ = [float(change[key]) for key in ("low", "high")], change["difference"]
            if self.summary:
                _ = float(self.summary["seconds"]), int(self.summary["num_tokens"])
            data = self.manifest.get("data") or {}
            _ = [int(data[key]) for key in ("rows_per_epoch", "replay_rows_per_epoch") if data]

    def rate(self, moment: str, name: str) -> Mapping[str, Any] | None:
        """Return a rate `before` or `after`; None for harm by a proxy judge if compliance was measured."""
        return (self.summary.get(moment) or {}).get(name) if self._is_shown(RATES[name]) else None

    def estimate(self, moment: str, name: str) -> Estimate | None:
        """Return value and interval of a rate for a figure; None if it has no value."""
        return estimate_of(self.rate(moment, name))

    @cached_property
    def metrics(self) -> dict[str, dict[int, float]]:
        """Content of `metrics.csv`: key -> step -> value; of several values of a step, the last."""
        found: dict[str, dict[int, float]] = {}
        for step, key, value in read_metrics(self.source.path / "metrics.csv"):
            found.setdefault(key, {})[step] = value
        return found

    def course(self, spec: RateSpec) -> dict[int, Estimate]:
        """Return step -> a rate with its interval. The subset of the task score is the split that was measured."""
        if not self._is_shown(spec):
            return {}
        base, subset = spec.metric, spec.subset
        if spec.group == "task":
            logged = (key.rpartition("/")[2] for key in self.metrics if key.startswith(f"check/{base}/"))
            subset = next(logged, subset)
        values = self.metrics.get(f"check/{base}/{subset}", {})
        lows = self.metrics.get(f"check/{base}_low/{subset}", {})
        highs = self.metrics.get(f"check/{base}_high/{subset}", {})
        return {step: Estimate(value, lows.get(step), highs.get(step)) for step, value in sorted(values.items())}

    def _is_shown(self, spec: RateSpec) -> bool:
        return spec.judged_by != "harm" or spec.is_shown(self.is_proxy, self._has_outcomes)

    @cached_property
    def _has_outcomes(self) -> bool:
        """Whether the run measured the three outcomes; older versions did not."""
        return has_answer_outcomes(self.summary) or (
            not self.summary and "check/compliance_rate/harmful" in self.metrics
        )

    def latest(self, key: str) -> float | None:
        """Return the value of a logged key at the last step; None if it was not logged."""
        by_step = self.metrics.get(key)
        return by_step[max(by_step)] if by_step else None

    @cached_property
    def _first_transcript(self) -> list[Json]:
        """Rows of the transcript of the first check."""
        if not self.transcripts:
            return []
        return [row for _, row in read_jsonl(self.transcripts[min(self.transcripts)])]

    @property
    def config(self) -> Json:
        """Settings of the run, with secrets masked; empty if they were not recorded."""
        config = self.manifest.get("config")
        return config if isinstance(config, dict) else {}

    @cached_property
    def transcripts(self) -> dict[int, Path]:
        """Step -> transcript of the harmfulness check."""
        paths = sorted((self.source.path / "transcripts").glob("step=*.jsonl"))
        return {int(path.stem.removeprefix("step=")): path for path in paths if is_step(path.stem[5:])}


def estimate_of(rate: Mapping[str, Any] | None) -> Estimate | None:
    """Return value and interval of a rate; None if it has no value."""
    if rate is None or not int(rate["num_prompts"]) or rate["value"] is None:
        return None
    return Estimate(float(rate["value"]), float(rate["low"]), float(rate["high"]))


def styles(runs: Iterable[Run]) -> dict[int, str]:
    """Return style -> name of a run, for a legend."""
    return {run.style: run.name for run in runs}
