"""The section on an evaluation: conclusions, rates per benchmark, changes from the baseline, rates along training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from grsap.measurement.catalogue import RATES, Conclusion, shown_rows
from grsap.pages import (
    Content,
    Element,
    Estimate,
    Section,
    Series,
    Trade,
    element,
    figure,
    line_chart,
    run_legend,
    table,
    trade_chart,
    with_interval,
)
from grsap.pages.numbers import count, number, percent, points, points_interval
from grsap.reporting.before_after import rate_cell, verdict_cell
from grsap.reporting.outcomes import Find, outcome_bars
from grsap.reporting.run import estimate_of
from grsap.reporting.sources import Source, reading

Row = Mapping[str, Any]


def evaluation(source: Source, place: int) -> list[Section]:
    """Return the section of an evaluation.

    Args:
        source: folder of the evaluation.
        place: its number on the page, from 1, for ids of elements.

    Raises:
        DataError: `evaluation.json` lacks a value or has one of a wrong type.
    """
    with reading(source):
        found = _Found(source)
        prefix = f"evaluation-{place}"
        content: list[Content] = [_conclusions(found), *_benchmarks(found, prefix)]
        content += [*_course(found, prefix), *_trade(found, prefix), *_changes(found), *_agreement(found)]
        content += [*_overlap(found), *_lm_eval(found)]
        return [Section(prefix, f"Evaluation: {source.name}", content)]


class _Found:
    """The content of an `evaluation.json`."""

    def __init__(self, source: Source) -> None:
        self.result = source.result
        self.subjects: dict[str, Row] = {subject["name"]: subject for subject in self.result["subjects"]}
        self.proxies = {judge["name"] for judge in self.result["judges"] if judge["is_proxy"]}
        self.ends = [name for name, subject in self.subjects.items() if subject["role"] in ("final", "model")]
        self.rates = shown_rows(self.result["rates"], self.proxies)

    def label(self, judge: str, metric: str) -> str:
        """Return the name of a rate, whose judge may be a proxy."""
        return RATES[metric].name(judge in self.proxies)

    def measures(self, benchmark: str) -> list[tuple[str, str]]:
        """Return each (judge, metric) of a benchmark, in the order of the catalogue."""
        found = dict.fromkeys(_measure(row) for row in self.rates if row["benchmark"] == benchmark)
        return sorted(found, key=lambda each: list(RATES).index(each[1]))

    def rate(self, subject: str, benchmark: str, measure: tuple[str, str]) -> Row | None:
        """Return the row of a (judge, metric); None if there is none."""
        for row in self.rates:
            if (row["subject"], row["benchmark"]) == (subject, benchmark) and _measure(row) == measure:
                return row
        return None


def _measure(row: Row) -> tuple[str, str]:
    return row["judge"], row["metric"]


def _conclusions(found: _Found) -> Content:
    items = []
    for row in found.result["conclusions"]:
        said = [f"{what} {row[what]}" for what in get_args(Conclusion) if row.get(what)]
        if said and row["subject"] in found.ends:
            items.append(element("li", element("b", row["subject"]), f" against {row['against']}: {', '.join(said)}."))
    ratio = found.result.get("max_ratio")
    bound = "" if ratio is None else f", and a safety rate is at most {ratio:g} times the baseline's, plus two points"
    note = element(
        "p",
        f"Margin: {100 * found.result['margin']:g} points. Held: on all benchmarks and by all judges, the change for "
        f"the worse against the baseline is below the margin with 95 % confidence{bound}. Lost: on at least one, the "
        "subject got worse, with a p-value of at most 0.05 after Holm's correction. Undecided: neither.",
        attributes={"class": "muted"},
    )
    proxy = element(
        "p",
        f"Proxy judge: {', '.join(sorted(found.proxies))} sees refusals only. Whether an answer that complies is "
        "harmful was not judged by it.",
        attributes={"class": "note"},
    )
    return [[element("ul", items), note] if items else None, proxy if found.proxies else None]


def _benchmarks(found: _Found, prefix: str) -> Iterator[Content]:
    for place, benchmark in enumerate(found.result["benchmarks"]):
        name = str(benchmark["name"])
        measures = found.measures(name)
        metrics = [metric for _, metric in measures]
        headings: list[Content] = ["subject"]
        for judge, metric in measures:
            label = found.label(judge, metric)
            several = metrics.count(metric) > 1
            headings.append([label, element("br"), element("small", judge)] if several else label)
        shown = [subject for subject, each in found.subjects.items() if each["role"] != "checkpoint"]
        rows: list[list[Content]] = [
            [subject, *(rate_cell(found.rate(subject, name, measure)) for measure in measures)] for subject in shown
        ]
        parts = [
            f"{count(benchmark[f'num_{kind}'])} {kind}" for kind in ("harmful", "benign") if benchmark[f"num_{kind}"]
        ]
        kinds = f" ({', '.join(parts)})" if parts else ""
        caption = (
            f"{name}: {count(benchmark['num_items'])} prompts{kinds}. Percent, with 95 % intervals in small print; "
            "answers whose verdict or score could not be read (unparsed) widen them. ★: significantly better than "
            "every other subject on the same prompts."
        )
        yield table(caption, headings, rows)
        yield from outcome_bars(f"{prefix}-outcomes-{place}", _bars(found, name, shown))
        for row in found.result.get("unanswered") or []:
            if row["benchmark"] == name:
                reasons = ", ".join(f"{reason} {count(num)}" for reason, num in row["num_by_reason"].items())
                words = (
                    f"{row['subject']}: prompts without an answer from the server, by reason: {reasons}. They widen "
                )
                words += "the intervals."
                yield element("p", words, attributes={"class": "note"})


def _bars(found: _Found, benchmark: str, subjects: Sequence[str]) -> Iterator[tuple[str, Find]]:
    """Yield the name of each bar, by subject and judge, and a function that finds its rates."""
    judges = list(dict.fromkeys(row["judge"] for row in found.rates if RATES[row["metric"]].outcome))
    for judge in judges:
        for subject in subjects:

            def find(metric: str, place: tuple[str, str] = (subject, judge)) -> Row | None:
                return found.rate(place[0], benchmark, (place[1], metric))

            yield f"{subject} ({judge})" if len(judges) > 1 else subject, find


def _course(found: _Found, prefix: str) -> Iterator[Element]:
    """Yield a figure of the rates of runs by step, if checkpoints were evaluated."""
    runs = list(dict.fromkeys(str(each["run"]) for each in found.subjects.values() if each["role"] == "checkpoint"))
    panels: list[tuple[str, Element]] = []
    for benchmark in (str(each["name"]) for each in found.result["benchmarks"]):
        for measure in found.measures(benchmark):
            spec = RATES[measure[1]]
            if not spec.decides and spec.outcome != "refused":
                continue
            series = [s for style, run in enumerate(runs) if (s := _run_series(found, run, style, benchmark, measure))]
            if series:
                heading = f"{benchmark}: {found.label(*measure)} ({measure[0]})"
                panels.append((heading, line_chart(f"{prefix}-course-{len(panels)}", heading, series)))
    if panels:
        caption = "Baseline (step 0), checkpoints and end of each run, on the same prompts. Bands are 95 % intervals."
        yield figure(panels, caption, run_legend(dict(enumerate(runs))))


def _run_series(found: _Found, run: str, style: int, benchmark: str, measure: tuple[str, str]) -> Series | None:
    of_run = [each for each in found.subjects.values() if each["run"] == run]
    starts = {each["start"] for each in of_run}
    points_: list[tuple[float, Estimate]] = []
    for name, subject in found.subjects.items():
        if subject["run"] != run and name not in starts:
            continue
        step = 0 if name in starts else subject["step"]
        value = estimate_of(found.rate(name, benchmark, measure))
        if value is not None and step is not None:
            points_.append((float(step), value))
    points_.sort(key=lambda each: each[0])
    if len(points_) < 2:
        return None
    return Series(run, style, [step for step, _ in points_], [value for _, value in points_])


def _trade(found: _Found, prefix: str) -> Iterator[Element]:
    """Yield a figure of harm (with a proxy judge: compliance) against task score, a panel per pair of benchmarks."""
    tasks = [(b, m) for b, m in _all_measures(found) if m[1] == "task_score"]
    harms = [
        (benchmark, (judge, metric))
        for benchmark, (judge, metric) in _all_measures(found)
        if metric == "harmful_or_incoherent_rate" or (metric == "compliance_rate" and judge in found.proxies)
    ]
    panels: list[tuple[str, Element]] = []
    for task, task_measure in tasks:
        for harm, harm_measure in harms:
            trades = []
            for style, name in enumerate(found.ends):
                start = found.subjects[name]["start"]
                places = ((task, task_measure), (harm, harm_measure))
                after = [estimate_of(found.rate(name, *place)) for place in places]
                before = [estimate_of(found.rate(start, *place)) if start else None for place in places]
                if after[0] is not None and after[1] is not None:
                    both = (before[0], before[1]) if before[0] is not None and before[1] is not None else None
                    trades.append(Trade(name, style, both, (after[0], after[1])))
            if trades:
                labels = (f"{task}: {found.label(*task_measure)}", f"{found.label(*harm_measure)}, %")
                drawn = trade_chart(f"{prefix}-trade-{len(panels)}", harm, trades, x_label=labels[0], y_label=labels[1])
                panels.append((f"{harm} ({harm_measure[0]})", drawn))
    if panels:
        caption = (
            "Baselines (hollow) and final models (filled); crosses are 95 % intervals. Lower right is better: a higher "
            "task score and less harm, provided that the model still answers."
        )
        yield figure(panels, caption, run_legend(dict(enumerate(found.ends)), hollow="baseline", filled="final"))


def _all_measures(found: _Found) -> list[tuple[str, tuple[str, str]]]:
    names = [str(benchmark["name"]) for benchmark in found.result["benchmarks"]]
    return [(name, measure) for name in names for measure in found.measures(name)]


def _changes(found: _Found) -> Iterator[Element]:
    rows: list[list[Content]] = []
    for row in shown_rows(found.result["comparisons"], found.proxies):
        if row["subject"] not in found.ends:
            continue
        change = with_interval(points(row["difference"]), points_interval(row["low"], row["high"]))
        detectable = points(row["smallest_detectable_difference"]).lstrip("+")
        verdict: list[Content] = [verdict_cell(row["verdict"])]
        if row["verdict_reason"]:
            verdict += [element("br"), element("small", str(row["verdict_reason"]).replace("_", " "))]
        pair = f"{row['subject']} against {row['against']}"
        words = f"{found.label(*_measure(row))} ({row['judge']})"
        cells = [change, _worse_better(row), number(row["p_holm"], 2), detectable, verdict]
        rows.append([pair, row["benchmark"], words, *cells])
    if rows:
        caption = (
            "Change: first subject minus second on the same prompts, in percentage points, with its 95 % interval. "
            "Worse / better of n: the numbers of prompts that changed, of all compared. p: exact McNemar test (with "
            "several samples per prompt: exact sign-flip test), adjusted by Holm over the tests of a conclusion. "
            "Detectable: the smallest change, in points, that the test finds with 80 % power at this n. Verdicts are "
            "given against the baseline only."
        )
        headings = ["compared", "benchmark", "rate", "change", "worse / better of n", "p", "detectable", "verdict"]
        yield table(caption, headings, rows, text_columns=3)


def _worse_better(row: Row) -> str:
    of = f" of {count(row['num_pairs'])}" if row.get("num_pairs") is not None else ""
    return f"{row['num_worse']} / {row['num_better']}{of}"


def _agreement(found: _Found) -> Iterator[Element]:
    rows: list[list[Content]] = []
    for each in found.result["agreement"]:
        named = [str(each["subject"]), str(each["benchmark"]), " and ".join(each["judges"]), str(each["label"])]
        kappa: Content = number(each["kappa"], 3)
        if each.get("kappa_low") is not None:  # files of older versions lack it
            kappa = with_interval(number(each["kappa"], 3), f"{each['kappa_low']:.2f}-{each['kappa_high']:.2f}")
        rows.append([*named, percent(each["observed"]), percent(each.get("positive_agreement")), kappa])
    if rows:
        caption = (
            "Agreement of two judges on the answers that both label. Equal: percent of answers with equal labels. "
            "Positive: percent of the True labels of either judge that the other gives too. Kappa: Cohen's, with its "
            "95 % interval; 0 is chance, 1 is full agreement."
        )
        headings = ["subject", "benchmark", "judges", "label", "equal", "positive", "kappa"]
        yield table(caption, headings, rows, text_columns=4)


def _overlap(found: _Found) -> Iterator[Element]:
    rows: list[list[Content]] = [
        [
            Path(str(each["replay"])).name,
            str(each["benchmark"]),
            f"{count(each['num_items_found'])} of {count(each['num_items'])}",
            f"{count(each['num_rows_found'])} of {count(each['num_rows'])}",
        ]
        for each in found.result.get("overlap") or []
    ]
    if rows:
        caption = (
            "Contamination: numbers of benchmark prompts and replay rows that share a sequence of words (shorter ones: "
            "that are equal). The rates of such prompts measure in part what was trained on."
        )
        headings = ["replay set", "benchmark", "prompts shared", "rows shared"]
        yield table(caption, headings, rows, text_columns=2)


def _lm_eval(found: _Found) -> Iterator[Element]:
    rows: list[list[Content]] = []
    for each in found.result.get("lm_eval") or []:
        named = [str(each["subject"]), str(each["task"]), str(each["metric"])]
        rows.append([*named, count(each["num_rows"]), number(each["value"], 4), number(each["stderr"], 3)])
    if rows:
        caption = "Tasks of the package lm-eval: its own metrics, in its own units, with its standard errors."
        headings = ["subject", "task", "metric", "rows", "value", "standard error"]
        yield table(caption, headings, rows, text_columns=3)
