"""The section on cost: tokens and time of synthesis, curation, training, checks and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from grsap.json_text import read_object
from grsap.pages import Content, Section, table
from grsap.pages.numbers import MISSING, count, gibibytes, percent
from grsap.progress import duration
from grsap.reporting.run import Run
from grsap.reporting.sources import Source, reading

Row = list[Content]


def cost(runs: Sequence[Run], others: Sequence[Source]) -> Section | None:
    """Return a table with a row per piece of work; None if no folder recorded its cost."""
    rows: list[Row] = []
    for source in others:
        with reading(source):
            rows += COSTS[source.kind](source)
    for run in runs:
        with reading(run.source):
            rows += _run_rows(run)
    if not rows:
        return None
    caption = (
        "Tokens are those generated (synthesis) or trained on, prompts included (training). Training time runs from "
        "the first step to the last, without checks; the rest is checks, loading and saving. Times add up over all "
        "calls on a folder, except what a killed call had not written yet. Do not compare times of different machines."
    )
    headings = ["folder", "work", "tokens", "time", "tokens per second", "share of the run's time", "peak memory"]
    return Section("cost", "Cost", [table(caption, headings, rows, text_columns=2)])


def _run_rows(run: Run) -> Iterator[Row]:
    summary = run.summary
    if not summary:
        return
    total, num_tokens, speed = summary["seconds"], summary["num_tokens"], summary.get("tokens_per_second")
    training = num_tokens / speed if speed else None
    seen = {source: run.latest(f"mixture/num_targets/{source}") or 0 for source in ("task", "replay")}
    if training is not None:
        memory = gibibytes(summary.get("peak_memory_bytes"))
        share = _share(training, total)
        yield [run.name, "training", count(num_tokens), duration(training), count(speed), share, memory]
        if seen["replay"]:
            replay = training * seen["replay"] / sum(seen.values())
            what = "… of this on replay rows, estimated from supervised tokens"
            yield [run.name, what, "", f"≈ {duration(replay)}", "", _share(replay, total), ""]
        rest = max(total - training, 0)
        yield [run.name, "checks, loading, saving", "", duration(rest), "", _share(rest, total), ""]
    yield [run.name, "the whole run", "", duration(total), "", "", ""]


def _synthesis_rows(source: Source) -> Iterator[Row]:
    manifest = source.manifest
    total = manifest["counts"]["total"]
    for what, key in (("synthesis: queries", "num_query_tokens"), ("synthesis: responses", "num_response_tokens")):
        yield [source.name, what, count(total[key]), "", "", "", ""]
    num_tokens = total["num_query_tokens"] + total["num_response_tokens"]
    speed = manifest.get("tokens_per_second")
    yield [source.name, "synthesis", count(num_tokens), duration(manifest["seconds"]), count(speed), "", ""]


def _curation_rows(source: Source) -> Iterator[Row]:
    for step, seconds in read_object(source.path / "timings.json").get("seconds_of_last_call", {}).items():
        yield [source.name, f"curation: {step}", "", duration(float(seconds)), "", "", ""]


def _similarity_rows(source: Source) -> Iterator[Row]:
    yield [source.name, "similarity", "", duration(source.result["seconds"]), "", "", ""]


def _evaluation_rows(source: Source) -> Iterator[Row]:
    for stage, by_name in (source.manifest.get("cost") or {}).items():
        for name, each in by_name.items():
            seconds, num_tokens = float(each["seconds"]), each.get("num_tokens")
            speed = num_tokens / seconds if num_tokens and seconds else None
            yield [source.name, f"{stage}: {name}", count(num_tokens), duration(seconds), count(speed), "", ""]


def _share(part: float, whole: float) -> str:
    return percent(part / whole) if whole else MISSING


COSTS: dict[str, Callable[[Source], Iterator[Row]]] = {
    "synthesis": _synthesis_rows,
    "curation": _curation_rows,
    "evaluation": _evaluation_rows,
    "similarity": _similarity_rows,
}
