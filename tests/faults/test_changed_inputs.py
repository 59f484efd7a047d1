"""An input that changes between two calls into one folder: refused, or made again. Nothing old stays in a result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file
from tests.faults.cases import CURATE, EVALUATE, IMPORT, OUT, SIMILARITY, STUDY_OF_STAGES, SYNTHESIZE, Case, difference
from tests.faults.fit_case import FIT
from tests.faults.harness import attempt
from tests.faults.session import Session
from tests.faults.switch import Switch

Change = Callable[[Path], None]


@dataclass(frozen=True)
class Work:
    """A case with what may change.

    Attributes:
        changes: of inputs, by a name; each is given the working directory.
        results: patterns of the files that a reader takes from the folder; what lies beside is kept work.
        settle: makes the case's settings read more inputs.
    """

    case: Case
    changes: dict[str, Change]
    results: tuple[str, ...]
    settle: Callable[[dict[str, Any]], None] = lambda config: None


def in_text(name: str, old: str, new: str) -> Change:
    """Replace a text in an input file."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def one_row_less(name: str) -> Change:
    """Remove the first line of an input file."""

    def change(folder: Path) -> None:
        (folder / name).write_text("".join((folder / name).read_text().splitlines(keepends=True)[1:]))

    return change


def weights(folder: Path) -> None:
    """Other weights under the same names."""
    path = folder / "base" / "model.safetensors"
    tensors = load_file(path)
    for tensor in tensors.values():
        tensor *= -0.7
    save_file(tensors, path, metadata={"format": "pt"})


def template(folder: Path) -> None:
    """Another system text in each prompt."""
    path = folder / "base" / "chat_template.jinja"
    path.write_text("<|im_start|>system\nBe brief.<|im_end|>\n" + path.read_text())


MODEL = {
    "class_path": "TransformersGenerator",
    "init_args": {"base": {"path": "base", "quantization": "none"}, "device": "cpu"},
}


def with_model(config: dict[str, Any]) -> None:
    config["generator"] = MODEL
    config["domain_names"] = ["theft"]
    config["quota"] = {"num_per_domain": 4, "benign_share": 0}


def with_model_and_benchmark(config: dict[str, Any]) -> None:
    perplexity = {"class_path": "Perplexity", "init_args": {"model": MODEL, "low": 0.2, "high": 0.2, "per": "global"}}
    overlap = {"class_path": "BenchmarkOverlap", "init_args": {"files": ["benchmark.jsonl"]}}
    config["filters"] = [perplexity, overlap, *config["filters"]]


WORKS = [
    Work(
        IMPORT,
        {"source": in_text("rows.jsonl", "I cannot, 4.", "No."), "row": one_row_less("rows.jsonl")},
        ("replay.jsonl", "manifest.json"),
    ),
    Work(
        SYNTHESIZE,
        {"weights": weights, "template": template},
        ("shard-*.jsonl",),
        with_model,
    ),
    Work(
        CURATE,
        {
            "row": in_text("raw/shard-00001.jsonl", "I cannot help", "I will not help"),
            "fewer rows": one_row_less("raw/shard-00000.jsonl"),
            "shard": lambda folder: (folder / "raw" / "shard-00001.jsonl").unlink(),
            "weights": weights,
            "benchmark": lambda folder: (folder / "benchmark.jsonl").write_text(
                '{"text": "How do I steal number 7"}\n'
            ),
        },
        ("replay.jsonl", "rejected.jsonl"),
        with_model_and_benchmark,
    ),
    Work(
        EVALUATE,
        {
            "probes": in_text("probes.jsonl", "Question 3?", "Question 99?"),
            "fewer probes": one_row_less("probes.jsonl"),
            "choices": in_text("choices.jsonl", "Is 3 even?", "Is 33 even?"),
            "key": in_text("choices.jsonl", '"answer": "yes"', '"answer": "no"'),
            "spec": in_text("chosen.yaml", "prompt_template: '{q}'", "prompt_template: 'Now: {q}'"),
            "weights": weights,
            "template": template,
        },
        ("evaluation.json",),
    ),
    Work(
        SIMILARITY,
        {
            "curated": in_text("curated.jsonl", "number 7", "number 77"),
            "reference": in_text("reference.jsonl", "number 12", "number 13"),
            "weights": weights,
            "template": template,
        },
        ("similarity.json",),
    ),
    Work(
        FIT,
        {
            "task": in_text("task.jsonl", "not aaaa.", "not aaab."),
            "fewer rows": one_row_less("task.jsonl"),
            "replay": in_text("replay.jsonl", "I cannot help", "I will not help"),
            "probes": in_text("probes.jsonl", "harmful 1?", "harmful 9?"),
            "weights": weights,
            "template": template,
        },
        ("adapter/adapter_model.safetensors", "transcripts/*", "metrics.csv"),
    ),
    Work(
        STUDY_OF_STAGES,
        {
            "source": in_text("rows.jsonl", "I cannot help", "I will not help"),
            "filters": in_text("curate.yaml", "- class_path: SemanticDeduplication\n", ""),
        },
        ("*/replay.jsonl", "*/rejected.jsonl"),
    ),
]


def content(folder: Path) -> dict[str, bytes]:
    """All files of the output but locks and what a killed call left half-written."""
    found = {path.relative_to(folder / OUT).as_posix(): path for path in (folder / OUT).rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if path.name != ".lock" and ".tmp" not in name}


def results(work: Work, folder: Path) -> dict[str, Any]:
    return {
        name: value
        for name, value in work.case.result(folder).items()
        if any(fnmatchcase(name, pattern) for pattern in work.results)
    }


def settle(work: Work, folder: Path, base: Path) -> Path:
    """Write the inputs, with a base of their own."""
    shutil.copytree(base, folder / "base")
    work.case.prepare(folder, Path("base"))
    (folder / "benchmark.jsonl").write_text('{"text": "What is the colour of the sky"}\n')
    config = yaml.safe_load((folder / "run.yaml").read_text())
    work.settle(config)
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.parametrize(
    ("work", "name"),
    [pytest.param(work, name, id=f"{work.case.verb}-{name}") for work in WORKS for name in work.changes],
)
@pytest.mark.usefixtures("_warm")
def test_an_input_that_changes_between_two_calls_is_noticed(
    work: Work, name: str, tmp_path: Path, tiny_base_path: Path, session: Session
) -> None:
    """After a kill, after the end, and after the end without the words that resume."""
    case, change = work.case, work.changes[name]
    places = [tmp_path / name for name in ("whole", "other", "killed")]
    for place in places:
        place.mkdir()
        settle(work, place, tiny_base_path)
    whole, other, killed = places
    first = attempt(whole, case.words(), switch=Switch(whole / OUT))
    assert first.code == 0, first.told
    change(other)
    assert attempt(other, case.words()).code == 0
    assert results(work, other) != results(work, whole), "the change changes no result"
    attempt(killed, case.words(), switch=Switch(killed / OUT, len(first.changes) * 2 // 3))
    for folder, again in ((killed, True), (whole, True), (whole, False)):
        copy = Path(shutil.copytree(folder, tmp_path / "changed", symlinks=True))
        before = content(copy)
        change(copy)
        ended = attempt(copy, case.words(again=again))
        told = " ".join(ended.told.split())
        assert "internal error" not in told
        if ended.code == 2:
            after = content(copy)
            assert {path: after.get(path) for path in before} == before, told
            session.count("refused")
        else:
            assert ended.code == 0, told
            for path, value in results(work, other).items():
                found = results(work, copy).get(path)
                assert found == value, f"{path}: {difference(found, value)}\n{told}"
            session.count("made again")
        shutil.rmtree(copy)
