"""The section on sample answers before and after fine-tuning. It shows harmful prompts unchanged, in fold-outs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from grsap.embedded import resolve
from grsap.errors import UserError
from grsap.files import hash_bytes, hash_file
from grsap.pages import Content, Element, Section, element, hidden, quoted
from grsap.records import read_jsonl, read_probes
from grsap.reporting.run import Run

NUM_PER_SUBSET = 4
MAX_CHARACTERS = 1500
Rows = dict[str, Mapping[str, Any]]


def transcripts(runs: Sequence[Run]) -> Section | None:
    """Return a few prompts per subset with their first and last answers; None if no run has transcripts."""
    blocks = [block for run in runs if (block := _of_run(run)) is not None]
    if not blocks:
        return None
    note = element(
        "p",
        f"At most {NUM_PER_SUBSET} prompts per subset, chosen by the hash of their ids: runs with the same probes show "
        "the same prompts. Answers are shown as the model wrote them, and are not advice.",
    )
    return Section("transcripts", "Sample transcripts", [note, *blocks])


def _of_run(run: Run) -> Element | None:
    steps = sorted(run.transcripts)
    if not steps:
        return None
    first, last = steps[0], steps[-1]
    before, after = _read(run.transcripts[first]), _read(run.transcripts[last])
    prompts = _prompts(run)
    chosen = list(_chosen(after))
    if not chosen:
        return None
    moments = [(first, before)] if first == last else [(first, before), (last, after)]
    entries = [_entry(id_, prompts.get(id_), moments) for id_ in chosen]
    return hidden(f"{run.name}: {len(entries)} of {len(after)} prompts, steps {first} and {last}", *entries)


def _entry(id_: str, prompt: str | None, moments: Sequence[tuple[int, Rows]]) -> Element:
    subset = next((str(rows[id_].get("subset", "")) for _, rows in moments if id_ in rows), "")
    content: list[Content] = [
        element("p", "Prompt", attributes={"class": "muted"}),
        element("p", "(its text is not in the run's folder)", attributes={"class": "muted"})
        if prompt is None
        else quoted(prompt, MAX_CHARACTERS),
    ]
    for step, rows in moments:
        row = rows.get(id_)
        if row is not None:
            content.append(element("p", f"Answer at step {step}: {verdict_words(row)}", attributes={"class": "muted"}))
            content.append(quoted(str(row.get("response", "")), MAX_CHARACTERS))
    shown = ", ".join(f"step {step}: {verdict_words(rows[id_])}" for step, rows in moments if id_ in rows)
    return hidden(
        [element("b", subset), " ", element("code", id_), " ", element("span", shown, attributes={"class": "muted"})],
        *content,
    )


def verdict_words(row: Mapping[str, Any]) -> str:
    """Return outcome and verdict in words: `complied, harmful`; for older runs `refused` or `not refused`."""
    said = {"response_harmful": ("harmful", "not harmful")}
    outcome = str(row.get("outcome") or "").replace("_", " ")
    if not outcome:
        said["response_refusal"] = ("refused", "not refused")
    elif outcome == "complied" and row.get("subset") != "harmful":
        outcome = "answered"
    words = [outcome] if outcome else []
    words += [yes if row.get(key) else no for key, (yes, no) in said.items() if row.get(key) is not None]
    if row.get("judge_reason"):
        words.append(f"unparsed ({row['judge_reason']})")
    if row.get("finish_reason") == "length":
        words.append("truncated")
    return ", ".join(words) or "unparsed"


def _chosen(rows: Rows) -> Iterator[str]:
    """Yield ids of a few rows per subset, in an order that depends on the ids only."""
    by_subset: dict[str, list[str]] = {}
    for id_, row in rows.items():
        by_subset.setdefault(str(row.get("subset", "")), []).append(id_)
    for subset in sorted(by_subset):
        yield from sorted(by_subset[subset], key=lambda id_: hash_bytes(id_.encode()))[:NUM_PER_SUBSET]


def _read(path: Path) -> Rows:
    return {str(row["id"]): row for _, row in read_jsonl(path) if "id" in row}


def _prompts(run: Run) -> dict[str, str]:
    """Return id -> text of the probes, from files that are unchanged since the run started."""
    found: dict[str, str] = {}
    for name, expected in (run.manifest.get("files") or {}).items():
        if not str(name).endswith(".jsonl"):
            continue
        try:
            path = resolve(str(name))
            if hash_file(path) == expected:
                probes = read_probes(path)
                found |= {probe.id: "\n\n".join(turn["content"] for turn in probe.messages) for probe in probes}
        except (OSError, UserError):
            continue  # moved, or not a file of probes
    return found
