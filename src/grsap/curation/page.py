"""`curation.html`: a page that shows what a curation kept and why. Texts are shown on a click."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from grsap.errors import MissingPackageError
from grsap.pages import (
    Content,
    Element,
    FunnelStep,
    Section,
    element,
    facts,
    figure,
    funnel_chart,
    hidden,
    histogram_chart,
    page,
    quoted,
    table,
    write_page,
)
from grsap.pages.numbers import MISSING, count, number, percent
from grsap.records import read_jsonl

PAGE = "curation.html"
FILES = ("replay.jsonl", "rejected.jsonl")
MAX_CHARACTERS = 1200
MAX_DOMAINS = 60
SCORES = {
    "perplexity": "perplexity",
    "nearest_cosine": "cosine to the nearest row",
    "domain_cosine": "cosine of query and domain",
    "benchmark_cosine": "cosine to the nearest benchmark row",
    "benchmark_share": "share of n-grams that a benchmark has too",
}
Json = Mapping[str, Any]


def write_curation_page(folder: Path, manifest: Json) -> Path:
    """Write `curation.html`, readable by its owner only.

    Args:
        folder: the folder of the curation, with `replay.jsonl` and `rejected.jsonl`.
        manifest: content of its `manifest.json`.

    Raises:
        MissingPackageError: matplotlib is not installed.
        ConfigError: the folder has a `curation.html` that is not a page of grsap.
    """
    sections = [
        *curation_sections(manifest),
        *_neighbours(folder, manifest),
        Section("made", "How it was made", [_facts(manifest)]),
    ]
    counts = manifest["counts"]
    summary = f"{count(counts['num_replay'])} of {count(counts['num_raw'])} rows kept for replay."
    path = folder / PAGE
    write_page(path, page("Curation", summary, sections), holds_texts=True)
    return path


def page_line(folder: Path, manifest: Json) -> str:
    """Write the page and return the line to print: its path, or that matplotlib is missing."""
    try:
        return f"page: {write_curation_page(folder, manifest)}"
    except MissingPackageError as error:
        return f"no {PAGE}: {error}"


def curation_sections(manifest: Json, prefix: str = "") -> list[Section]:
    """Return sections without texts: funnel, scores with thresholds, and kept rows by domain and behaviour.

    Args:
        manifest: manifest of a curation.
        prefix: prefix of all ids, for a page that shows several curations; ends in `-`.
    """
    sections = [Section(f"{prefix}funnel", "What was kept", list(_funnel(manifest, prefix)))]
    scores = _scores(manifest, prefix)
    if scores:
        sections.append(Section(f"{prefix}scores", "Scores and cuts", [scores]))
    return [*sections, Section(f"{prefix}domains", "Domains and behaviours", [_domains(manifest)])]


def _funnel(manifest: Json, prefix: str) -> Iterator[Content]:
    left = manifest["counts"]["num_raw"]
    steps = [FunnelStep("raw rows", left)]
    for step in manifest["steps"]:
        if step["takes_rejected"]:
            left += step["num_kept"]
            steps.append(FunnelStep(f"{step['name']}: brings back {step['num_kept']}", left))
        else:
            left = step["num_kept"]
            steps.append(FunnelStep(step["name"], left, step["num_in"] - left))
    caption = (
        "Rows left after each filter, in order, and, in the other colour, the rows that it rejected. A filter that "
        "brings rows back receives rejected rows."
    )
    yield figure([("", funnel_chart(f"{prefix}funnel-chart", "rows left after each filter", steps))], caption)
    yield _steps_table(manifest)


def _steps_table(manifest: Json) -> Element:
    rows: list[list[Content]] = []
    for step in manifest["steps"]:
        settings = ", ".join(f"{name} {_plain(value)}" for name, value in step["settings"].items())
        reasons = ", ".join(f"{reason} {count(num)}" for reason, num in step["reasons"].items())
        share = percent(step["num_kept"] / step["num_in"]) if step["num_in"] else MISSING
        name = [element("b", step["name"]), element("br"), element("small", settings)] if settings else step["name"]
        rows.append([name, reasons or MISSING, count(step["num_in"]), count(step["num_kept"]), share])
    caption = "Filters with their settings in small print, and what they rejected, by reason."
    return table(caption, ["filter", "rejected", "in", "kept", "share kept"], rows, text_columns=2)


def _scores(manifest: Json, prefix: str) -> Element | None:
    panels: list[tuple[str, Element]] = []
    notes: list[str] = []
    for step in manifest["steps"]:
        for each in step["histograms"]:
            score = SCORES.get(each["score"], str(each["score"]).replace("_", " "))
            edges = each["edges"]
            if each["counts"] and edges[-1] - edges[0] > 1e-5 * max(1.0, abs(edges[-1])):
                panels.append(_histogram(f"{prefix}scores-{len(panels)}", str(step["name"]), score, each))
            elif each["counts"]:
                notes.append(
                    f" {step['name']}: {score} is {number(edges[0])} of all {count(sum(each['counts']))} rows."
                )
        notes += _score_notes(step)
    if not panels:
        return None
    caption = (
        "Scores of the rows that each filter received. The dashed line is the threshold; bars beyond it have the other "
        "colour. Rows without a score are not shown."
    )
    return figure(panels, [caption, *notes])


def _histogram(name: str, step: str, score: str, each: Json) -> tuple[str, Element]:
    below, above = each["cuts"].get("below"), each["cuts"].get("above")
    drawn = histogram_chart(
        name,
        f"{step}: {score}",
        each["edges"],
        each["counts"],
        min_kept=below,
        max_kept=above,
        x_label=score,
        log=bool(each["log"]),
    )
    bounds = [f"{sign} {number(cut, 3)}" for sign, cut in (("≥", below), ("≤", above)) if cut is not None]
    return f"{step}: keeps {' and '.join(bounds)}" if bounds else step, drawn


def _score_notes(step: Json) -> list[str]:
    notes = []
    if len((step["audit"] or {}).get("bounds") or ()) > 1:
        notes.append(
            f" {step['name']} uses separate thresholds for each domain; the lines are those of all rows together."
        )
    if any(each["score"] == "nearest_cosine" for each in step["histograms"]):
        notes.append(f" Of near-duplicates {step['name']} keeps one row, so some rows beyond the threshold are kept.")
    return notes


def _domains(manifest: Json) -> Element:
    found: dict[str, dict[str, int]] = {}
    for row in manifest["counts"]["replay"]:
        behaviours = found.setdefault(str(row["domain"]), {})
        behaviours[str(row["behaviour"])] = behaviours.get(str(row["behaviour"]), 0) + row["num"]
    columns = sorted({behaviour for each in found.values() for behaviour in each})
    ranked = sorted(found, key=lambda domain: (-sum(found[domain].values()), domain))
    rows: list[list[Content]] = []
    for domain in ranked[:MAX_DOMAINS]:
        numbers = [found[domain].get(column, 0) for column in columns]
        rows.append([domain, *(count(each) if each else MISSING for each in numbers), count(sum(numbers))])
    totals = [sum(each.get(column, 0) for each in found.values()) for column in columns]
    rows.append([element("b", "all"), *(element("b", count(each)) for each in [*totals, sum(totals)])])
    caption = f"Rows of the replay set by domain and behaviour, {len(found)} domains."
    if len(ranked) > MAX_DOMAINS:
        caption += f" The {MAX_DOMAINS} largest are shown; the last row counts all."
    return table(caption, ["domain", *(column.replace("_", " ") for column in columns), "all"], rows)


def _neighbours(folder: Path, manifest: Json) -> Iterator[Section]:
    examples = manifest["neighbours"]
    if not examples:
        return
    ids = {example["id"] for example in examples} | {near["id"] for each in examples for near in each["neighbours"]}
    texts = dict(_texts(folder, ids))
    blocks: list[Content] = [
        element(
            "p",
            f"{len(examples)} kept rows, drawn with the seed, and the rows with the nearest queries, kept or not. "
            "Cosines close to 1 between kept rows are near-duplicates that passed the threshold. Click to show the "
            "texts as the model wrote them.",
        )
    ]
    for example in examples:
        nearest = ", ".join(number(near["cosine"], 3) for near in example["neighbours"])
        lines = [_row("kept", example["id"], texts)]
        for near in example["neighbours"]:
            state = "kept" if near["kept"] else "rejected"
            lines.append(_row(f"cosine {number(near['cosine'], 3)}, {state}", near["id"], texts))
        head = [element("code", example["id"]), element("span", f" · nearest {nearest}", attributes={"class": "muted"})]
        blocks.append(hidden(head, *lines))
    yield Section("neighbours", "Nearest neighbours", blocks)


def _row(words: str, id_: str, texts: Mapping[str, Sequence[str]]) -> list[Content]:
    head = element("p", f"{words}: ", element("code", id_), attributes={"class": "muted"})
    return [head, *(quoted(text, MAX_CHARACTERS) for text in texts.get(id_, ()))]


def _texts(folder: Path, ids: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (id, texts of the turns) of the rows with these ids."""
    for name in FILES:
        path = folder / name
        if path.is_file():
            for _, row in read_jsonl(path):
                if row.get("id") in ids:
                    yield row["id"], [str(turn.get("content", "")) for turn in row.get("messages", [])]


def _facts(manifest: Json) -> Element:
    models = {name: model for name, model in manifest["models"].items() if model is not None}
    pairs: list[tuple[Content, Content]] = [
        ("schema", manifest["schema"]),
        ("grsap", manifest["grsap_version"]),
        ("seed", str(manifest["seed"])),
        ("input", [f"{count(manifest['input']['num_rows'])} rows ", element("code", manifest["input"]["hash"])]),
        *((name, _plain(model)) for name, model in models.items()),
    ]
    for name, entry in manifest["files"].items():
        pairs.append((name, [f"{count(entry['num_rows'])} rows ", element("code", entry["hash"])]))
    return facts(pairs)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(child)}" for key, child in value.items() if child is not None)
    return " ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)
