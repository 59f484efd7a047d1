"""Write tables and pictures of docs/evidence.md from a study's folder: `python resources/evidence.py runs/paper_mini`.

Tells what is there of `make paper-full`. Seeds are pooled as samples of a prompt: intervals are over prompts (and the
seeds of each), and each seed's own value stands beside. Needs matplotlib.
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
from grsap.evaluation.outcomes import HIGHER_IS_BETTER, Measure, Outcomes
from grsap.evaluation.stages import Stages
from grsap.metrics import PairedChange, SampledRate, sampled_change, sampled_rate
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
    "pareto": "Over-refusal of benign twins against non-refusal or incoherent answers, with the task scores",
    "course": "Non-refusal or incoherent answers over the steps of training",
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
    def higher_is_better(self) -> bool:
        """Which way is better."""
        return self.metric in HIGHER_IS_BETTER


HARM = Column("non-refusal or incoherent", "harmful_or_incoherent_rate", "harmful")
TWINS = Column("over-refusal, twins", "over_refusal_rate", "twin")
TASK = Column("task", "task_score", "all", is_safety=False)
COLUMNS = (
    HARM,
    Column("non-refusal", "harmfulness_rate", "harmful"),
    TWINS,
    Column("over-refusal, ordinary", "over_refusal_rate", "ordinary"),
    Column("pair accuracy", "pair_accuracy", "pairs"),
    Column("incoherent", "incoherent_share", "all"),
    TASK,
)


class Seeds:
    """The evaluations of a stage that differ in seed only.

    Args:
        folders: one a seed.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.found = [outcomes_of(folder) for folder in folders]
        self.rows = [row for row in NAMES if row in self.found[0]]
        self.columns = [column for column in COLUMNS if _measured(self.found[0][self.rows[0]], column) is not None]

    def samples(self, row: str, column: Column) -> dict[str, list[Outcome]]:
        """Outcomes by prompt, one a seed."""
        pooled: dict[str, list[Outcome]] = {}
        for found in self.found:
            for prompt, values in (_measured(found[row], column) or {}).items():
                pooled.setdefault(prompt, []).extend(values)
        return pooled

    def rate(self, row: str, column: Column) -> SampledRate:
        """Over prompts and seeds."""
        return sampled_rate(self.samples(row, column))

    def each(self, row: str, column: Column) -> list[float]:
        """The value of every seed."""
        return [sampled_rate(_measured(found[row], column) or {}).value or 0.0 for found in self.found]

    def change(self, before: str, after: str, column: Column) -> PairedChange:
        """From one row to another, prompt by prompt."""
        return sampled_change(
            self.samples(before, column), self.samples(after, column), higher_is_better=column.higher_is_better
        )


def outcomes_of(folder: Path) -> dict[str, Any]:
    """What each prompt came to in an evaluation's folder, by row; all starts are one."""
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


def _measured(found: Mapping[str, Mapping[Measure, Outcomes]], column: Column) -> Outcomes | None:
    for benchmark, measures in found.items():
        if benchmark.startswith("quickstart") == column.is_safety:
            for measure, outcomes in measures.items():
                if (measure.metric, measure.subset) == (column.metric, column.subset):
                    return outcomes
    return None


def table(seeds: Seeds) -> Iterator[str]:
    """Rates of all rows, in per cent; the first with its interval."""
    yield "| row | " + " | ".join(column.name for column in seeds.columns) + " |"
    yield "|---|" + "---|" * len(seeds.columns)
    for row in seeds.rows:
        cells = []
        for column in seeds.columns:
            rate, each = seeds.rate(row, column), seeds.each(row, column)
            interval = f" [{100 * rate.low:.0f}, {100 * rate.high:.0f}]" if column == HARM else ""
            own = f" ({', '.join(f'{100 * value:.0f}' for value in each)})" if len(set(each)) > 1 else ""
            cells.append(f"{_percent(rate)}{interval}{own}")
        yield f"| {NAMES[row]} | " + " | ".join(cells) + " |"


def tests(seeds: Seeds) -> Iterator[str]:
    """The paired changes that the claims rest on, in points."""
    columns = [column for column in (HARM, TWINS, TASK) if column in seeds.columns]
    yield "| from | to | " + " | p | ".join(column.name for column in columns) + " | p |"
    yield "|---|---|" + "---|---|" * len(columns)
    for before, after in COMPARED:
        cells = []
        for column in columns:
            change = seeds.change(before, after, column)
            interval = f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
            cells += [f"{100 * (change.difference or 0.0):+.1f} {interval}", f"{change.p_value:.2g}"]
        yield f"| {NAMES[before]} | {NAMES[after]} | " + " | ".join(cells) + " |"


def _percent(rate: SampledRate) -> str:
    return f"{100 * (rate.value or 0.0):.1f}"


def similarities(folder: Path, seeds: Seeds) -> Iterator[str]:
    """How alike the queries of replay sets are to those of the alignment rows, beside what came of training."""
    yield "| replay | " + " | ".join(ALIKE) + f" | {HARM.name} after training |"
    yield "|---|" + "---|" * (len(ALIKE) + 1)
    for path in sorted(folder.glob("similarity/*/similarity.json")):
        found = {
            each["measure"]: each["value"]
            for each in json.loads(path.read_text())["measures"]
            if (each["view"], each["population"], each["against"]) == ("query", "curated", "reference")
        }
        row = path.parent.name
        values = " | ".join(f"{found[name]:.2f}" for name in ALIKE)
        yield f"| {NAMES[row]} | {values} | {_percent(seeds.rate(row, HARM))} |"


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
    for column, color, marker in ((HARM, "#d1495b", "o"), (TWINS, "#e09f3e", "s"), (TASK, "#2a7f9e", "^")):
        rates = [seeds.rate(row, column) for row in rows]
        places, values = [RATIOS[row] for row in rows], [rate.value or 0.0 for rate in rates]
        axes.errorbar(places, values, yerr=_arms(rates), color=color, marker=marker, capsize=3, label=column.name)
    axes.axhline(
        seeds.rate(START, HARM).value, color=COLORS[START], lw=1, ls=(0, (5, 3)), label=f"{HARM.name}, aligned start"
    )
    axes.set_xlabel("share of replay rows")
    _finish(figure, axes, "evidence_ratio")


def draw_course(folder: Path) -> None:
    """Harm over the steps of training."""
    evaluation = json.loads((folder / "evaluation.json").read_text())
    steps = {each["name"]: each for each in evaluation["subjects"]}
    rates = {
        each["subject"]: each
        for each in evaluation["rates"]
        if (each["metric"], each["subset"]) == (HARM.metric, HARM.subset)
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
    axes.set_ylabel("non-refusal or incoherent")
    _finish(figure, axes, "evidence_course")


def draw_pareto(seeds: Seeds) -> None:
    """Over-refusal against harm: which rows give up less of both; the task's score stands in the list."""
    figure, axes = plt.subplots(figsize=(7.0, 3.8))
    for number, row in enumerate(seeds.rows):
        harm, twins, task = (seeds.rate(row, column) for column in (HARM, TWINS, TASK))
        place = (harm.value or 0.0, twins.value or 0.0)
        look = {"color": COLORS.get(row, "#2a7f9e"), "marker": "o", "ms": 4, "lw": 0.7, "capsize": 2, "alpha": 0.75}
        label = f"{number}  {NAMES[row]}, task {_percent(task)} %"
        axes.errorbar(*place, xerr=_arms([harm]), yerr=_arms([twins]), label=label, **look)
        axes.annotate(str(number), place, textcoords="offset points", xytext=(4, 3), fontsize=8)
    axes.set_xlabel(f"{HARM.name} (left is better)")
    axes.set_ylabel(f"{TWINS.name} (low is better)")
    axes.legend(frameon=False, fontsize=7.5, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.0)
    _finish(figure, axes, "evidence_pareto")


def _arms(rates: Sequence[SampledRate]) -> list[list[float]]:
    """What error bars take: below and above."""
    values = [rate.value or 0.0 for rate in rates]
    below = [max(0.0, value - rate.low) for value, rate in zip(values, rates, strict=True)]
    return [below, [max(0.0, rate.high - value) for value, rate in zip(values, rates, strict=True)]]


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
    """Write what is there."""
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
            seeds = Seeds(folders) if folders else None
            yield f"{stage} {task}", [*table(seeds), "", *tests(seeds)] if seeds else []
            if seeds and stage == "evaluate":
                sealed[task] = seeds
    others = folder / "others" / "extraction"
    if (others / "evaluation.json").is_file():
        seeds = Seeds([others])
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
