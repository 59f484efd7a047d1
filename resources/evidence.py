"""Write tables and pictures of docs/evidence.md from a study's folder: `python resources/evidence.py runs/paper_mini`.

Writes what exists of `make paper-full`. With several seeds a value is their mean, and its 95 % interval is over seeds
and prompts (`grsap.metrics.seed_interval`); each seed's own value is in parentheses. Needs matplotlib.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

import grsap.data  # short class names work for classes that are imported
import grsap.generation
import grsap.judging  # noqa: F401
from grsap.commands.stage import build, stage_parser
from grsap.evaluation import Evaluation
from grsap.evaluation.stages import Stages
from grsap.measurement.catalogue import RATES, RateSpec
from grsap.measurement.outcomes import Measure, Outcomes, rate_of_samples
from grsap.metrics import sampled_change, seed_interval
from grsap.metrics.sampled import Outcome

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "evidence.md"
IMAGES = ROOT / "docs" / "images"
START = "start"
NAMES = {
    START: "aligned start",
    "none": "no replay",
    "gr_sap": "GR-SAP",
    "original": "original rows",
    "off_distribution": "off-distribution rows",
    "gr_sap_kl": "GR-SAP + KL",
    "no_benign": "GR-SAP without benign",
    **{f"ratio_{each}": f"GR-SAP, ratio .{each}" for each in ("02", "05", "10", "20", "30")},
}
COLORS = {
    "none": "#d1495b",
    "gr_sap": "#2a7f9e",
    "original": "#6a994e",
    "off_distribution": "#e09f3e",
    START: "#5c6670",
}
ALIKE = ("mauve_c2", "classifier_accuracy", "precision", "recall")
SHOWN = {
    "ratio": "Rates over the share of replay rows",
    "pareto": "Over-refusal of benign twins against compliance, with the task scores",
    "course": "Compliance over the steps of training",
}
COMPARED = (
    (START, "none"),
    (START, "gr_sap"),
    ("none", "gr_sap"),
    ("original", "gr_sap"),
    ("off_distribution", "gr_sap"),
)
RATIOS = {
    "none": 0.0,
    "ratio_02": 0.02,
    "ratio_05": 0.05,
    "ratio_10": 0.1,
    "ratio_20": 0.2,
    "gr_sap": 0.25,
    "ratio_30": 0.3,
}


@dataclass(frozen=True)
class Column:
    """A rate of the table, in per cent.

    Attributes:
        name: its head.
        metric, subset: of the measure.
        is_safety: of the safety benchmark, or of the task's.
    """

    name: str
    metric: str
    subset: str
    is_safety: bool = True

    @property
    def spec(self) -> RateSpec:
        """Its entry in the catalogue of rates."""
        return RATES[self.metric]


COMPLIED = Column("complied", "compliance_rate", "harmful")
TWINS = Column("over-refusal, twins", "over_refusal_rate", "twin")
TASK = Column("task", "task_score", "all", is_safety=False)
COLUMNS = (
    COMPLIED,
    Column("refused", "refusal_rate", "harmful"),
    Column("no answer", "no_answer_rate", "harmful"),
    TWINS,
    Column("over-refusal, ordinary", "over_refusal_rate", "ordinary"),
    Column("no answer, benign", "benign_no_answer_rate", "benign"),
    Column("pair accuracy", "pair_accuracy", "pairs"),
    TASK,
)

Found = Mapping[str, Mapping[str, Mapping[Measure, Outcomes]]]
"""Outcomes by row, benchmark and measure."""


@dataclass(frozen=True)
class Estimate:
    """A rate or a change as a share, with its 95 % interval, and each seed's own value."""

    value: float
    low: float
    high: float
    each: Sequence[float]


class Seeds:
    """The evaluations of a stage that differ in seed only.

    Args:
        found: the outcomes of one per seed.
    """

    def __init__(self, found: Sequence[Found]) -> None:
        self.found = found
        self.rows = [row for row in NAMES if row in found[0]]
        self.columns = [column for column in COLUMNS if _measured(found[0][self.rows[0]], column)]

    def rate(self, row: str, column: Column) -> Estimate:
        """Mean over the seeds."""
        pooled = rate_of_samples(column.spec, self._samples(row, column))
        each = [rate_of_samples(column.spec, _measured(found[row], column)).value or 0.0 for found in self.found]
        return _over_seeds(each, (pooled.low, pooled.high))

    def change(self, before: str, after: str, column: Column) -> Estimate:
        """From one row to another, paired by prompt, and by seed."""
        pooled = sampled_change(self._samples(before, column), self._samples(after, column))
        each = [
            sampled_change(_measured(found[before], column), _measured(found[after], column)).difference or 0.0
            for found in self.found
        ]
        return _over_seeds(each, (pooled.low, pooled.high))

    def _samples(self, row: str, column: Column) -> dict[str, list[Outcome]]:
        """Outcomes by prompt, one per seed."""
        pooled: dict[str, list[Outcome]] = {}
        for found in self.found:
            for prompt, values in _measured(found[row], column).items():
                pooled.setdefault(prompt, []).extend(values)
        return pooled


def _over_seeds(each: Sequence[float], over_prompts: tuple[float, float]) -> Estimate:
    """The mean; its interval joins that over prompts with the variation of seeds if there are several."""
    value, (low, high) = sum(each) / len(each), over_prompts
    if len(each) > 1:
        _, low, high = seed_interval(each, (value - low, high - value))
    return Estimate(value, low, high, each)


def outcomes_of(folder: Path) -> dict[str, Any]:
    """The outcomes in an evaluation's folder, by row; all baselines are one."""
    parser = stage_parser("evaluate", Evaluation)
    settings = parser.parse_args(["--config", str(folder / "config.yaml")])
    evaluation = build(parser, settings, Evaluation)
    assert isinstance(evaluation, Evaluation)
    stages = Stages(evaluation, folder)
    try:
        found = stages.outcomes()
    finally:
        stages.close()
    return {name.split("/")[-1]: each for name, each in found.items()}


def _measured(found: Mapping[str, Mapping[Measure, Outcomes]], column: Column) -> Outcomes:
    """The outcomes of a column; empty if it was not measured."""
    for benchmark, measures in found.items():
        if benchmark.startswith("quickstart") == column.is_safety:
            for measure, outcomes in measures.items():
                if (measure.metric, measure.subset) == (column.metric, column.subset):
                    return outcomes
    return {}


def table(seeds: Seeds) -> Iterator[str]:
    """Rates of all rows, in per cent; the first with its interval."""
    yield "| row | " + " | ".join(column.name for column in seeds.columns) + " |"
    yield "|---|" + "---|" * len(seeds.columns)
    for row in seeds.rows:
        cells = []
        for column in seeds.columns:
            rate = seeds.rate(row, column)
            low, high = max(0.0, rate.low), min(1.0, rate.high)
            interval = f" [{100 * low:.0f}, {100 * high:.0f}]" if column == COMPLIED else ""
            cells.append(f"{100 * rate.value:.1f}{interval}{_each(rate, '.0f')}")
        yield f"| {NAMES[row]} | " + " | ".join(cells) + " |"


def tests(seeds: Seeds) -> Iterator[str]:
    """The paired changes that the claims are based on, in points."""
    columns = [column for column in (COMPLIED, TWINS, TASK) if column in seeds.columns]
    yield "| from | to | " + " | ".join(column.name for column in columns) + " |"
    yield "|---|---|" + "---|" * len(columns)
    for before, after in COMPARED:
        cells = []
        for column in columns:
            change = seeds.change(before, after, column)
            interval = f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
            cells.append(f"{100 * change.value:+.1f} {interval}{_each(change, '+.0f')}")
        yield f"| {NAMES[before]} | {NAMES[after]} | " + " | ".join(cells) + " |"


def _each(estimate: Estimate, form: str) -> str:
    """` (35, 34, 32)`: the seeds' own values in per cent, if they differ."""
    values = [format(100 * value, form) for value in estimate.each]
    return f" ({', '.join(values)})" if len(set(estimate.each)) > 1 else ""


def similarities(folder: Path, seeds: Seeds) -> Iterator[str]:
    """How alike the queries of replay sets are to those of the alignment rows, beside what came of training."""
    yield "| replay | " + " | ".join(ALIKE) + f" | {COMPLIED.name} after training |"
    yield "|---|" + "---|" * (len(ALIKE) + 1)
    for path in sorted(folder.glob("similarity/*/similarity.json")):
        found = {
            each["measure"]: each["value"]
            for each in json.loads(path.read_text())["measures"]
            if (each["view"], each["population"], each["against"]) == ("query", "curated", "reference")
        }
        row = path.parent.name
        values = " | ".join(f"{found[name]:.2f}" for name in ALIKE)
        yield f"| {NAMES[row]} | {values} | {100 * seeds.rate(row, COMPLIED).value:.1f} |"


def costs(folder: Path) -> Iterator[str]:
    """Seconds of each kind of stage."""
    yield "| stage | times | seconds each |"
    yield "|---|---|---|"
    by_kind: dict[str, list[float]] = {}
    for stage in json.loads((folder / "study.json").read_text())["stages"]:
        if stage["seconds"] is not None:
            by_kind.setdefault(stage["name"].split("/")[0], []).append(stage["seconds"])
    for kind, seconds in by_kind.items():
        span = f"{min(seconds):.0f} to {max(seconds):.0f}" if len(seconds) > 1 else f"{seconds[0]:.0f}"
        yield f"| {kind} | {len(seconds)} | {span} |"


def draw_ratios(seeds: Seeds) -> None:
    """Rates over the share of replay rows."""
    rows = [row for row in RATIOS if row in seeds.rows]
    figure, axes = plt.subplots(figsize=(6.2, 3.8))
    for column, color, marker in ((COMPLIED, "#d1495b", "o"), (TWINS, "#e09f3e", "s"), (TASK, "#2a7f9e", "^")):
        rates = [seeds.rate(row, column) for row in rows]
        places, values = [RATIOS[row] for row in rows], [rate.value for rate in rates]
        axes.errorbar(places, values, yerr=_arms(rates), color=color, marker=marker, capsize=3, label=column.name)
    axes.axhline(
        seeds.rate(START, COMPLIED).value, color=COLORS[START], lw=1, ls=(0, (5, 3)), label="complied, aligned start"
    )
    axes.set_xlabel("share of replay rows")
    _finish(figure, axes, "evidence_ratio")


def draw_course(folder: Path) -> None:
    """Compliance over the steps of training."""
    evaluation = json.loads((folder / "evaluation.json").read_text())
    steps = {each["name"]: each for each in evaluation["subjects"]}
    rates = {
        each["subject"]: each
        for each in evaluation["rates"]
        if (each["metric"], each["subset"]) == (COMPLIED.metric, COMPLIED.subset)
    }
    figure, axes = plt.subplots(figsize=(6.2, 3.6))
    for row, marker in zip(("none", "off_distribution", "gr_sap", "original"), "osD^", strict=True):
        points = sorted(
            (steps[name]["step"], rates[name]["value"])
            for name in rates
            if steps[name]["run"] == row or steps[name]["role"] == "start"
        )
        axes.plot(*zip(*points, strict=True), color=COLORS[row], marker=marker, lw=1.4, label=NAMES[row])
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("complied, harmful prompts")
    _finish(figure, axes, "evidence_course")


def draw_pareto(seeds: Seeds) -> None:
    """Over-refusal against compliance: which rows have less of both; the task's score is in the legend."""
    figure, axes = plt.subplots(figsize=(7.0, 3.8))
    for number, row in enumerate(seeds.rows):
        complied, twins, task = (seeds.rate(row, column) for column in (COMPLIED, TWINS, TASK))
        place = (complied.value, twins.value)
        look = {"color": COLORS.get(row, "#2a7f9e"), "marker": "o", "ms": 4, "lw": 0.7, "capsize": 2, "alpha": 0.75}
        label = f"{number}  {NAMES[row]}, task {100 * task.value:.1f} %"
        axes.errorbar(*place, xerr=_arms([complied]), yerr=_arms([twins]), label=label, **look)
        axes.annotate(str(number), place, textcoords="offset points", xytext=(4, 3), fontsize=8)
    axes.set_xlabel(f"{COMPLIED.name} (left is better)")
    axes.set_ylabel(f"{TWINS.name} (low is better)")
    axes.legend(frameon=False, fontsize=7.5, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.0)
    _finish(figure, axes, "evidence_pareto")


def _arms(rates: Sequence[Estimate]) -> list[list[float]]:
    """What error bars take: lengths below and above."""
    return [[max(0.0, rate.value - rate.low) for rate in rates], [max(0.0, rate.high - rate.value) for rate in rates]]


def _finish(figure: Any, axes: Any, name: str) -> None:
    axes.set_ylim(-0.02, 1.05)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend() is None:
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    figure.tight_layout()
    figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def replaced(page: str, name: str, lines: Sequence[str]) -> str:
    """The page with new lines between the marks of `name`."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    assert pattern.search(page), f"docs/evidence.md has no part {name}"
    return pattern.sub(lambda match: f"{match[1]}\n" + "\n".join(lines) + f"\n\n{match[2]}", page)


def main() -> int:
    """Write what exists."""
    folder = Path(sys.argv[1])
    plt.rcParams.update({"font.size": 9, "svg.hashsalt": "grsap", "svg.fonttype": "path"})
    page = PAGE.read_text()
    for part, lines in parts(folder):
        page = replaced(page, part, lines or ["Not run yet."])
    PAGE.write_text(page)
    return 0


def parts(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The parts of the page: name, and lines; none where nothing was run. Draws the pictures on the way."""
    sealed: dict[str, Seeds] = {}
    for task in ("extraction", "dates"):
        for stage in ("evaluate", "unseen"):
            folders = sorted(each.parent for each in folder.glob(f"{stage}/{task}/*/evaluation.json"))
            seeds = Seeds([outcomes_of(each) for each in folders]) if folders else None
            yield f"{stage} {task}", [*table(seeds), "", *tests(seeds)] if seeds else []
            if seeds and stage == "evaluate":
                sealed[task] = seeds
    others = folder / "others" / "extraction"
    if (others / "evaluation.json").is_file():
        seeds = Seeds([outcomes_of(others)])
        draw_ratios(seeds)
        draw_pareto(seeds)
        yield "others", [*table(seeds), "", *pictures("ratio", "pareto")]
    else:
        yield "others", []
    course = folder / "along" / "extraction"
    if (course / "evaluation.json").is_file():
        draw_course(course)
        yield "course", list(pictures("course"))
    else:
        yield "course", []
    yield "similarity", list(similarities(folder, sealed["extraction"])) if "extraction" in sealed else []
    yield "cost", list(costs(folder))


def pictures(*names: str) -> Iterator[str]:
    """Links to pictures, with what they show."""
    for name in names:
        yield f"![{SHOWN[name]}](images/evidence_{name}.svg)"


if __name__ == "__main__":
    raise SystemExit(main())
