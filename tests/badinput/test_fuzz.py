"""Parsers give a result or a user's error, whatever they are given.

By hypothesis in the ordinary suite, by coverage in the slow tier: GRSAP_FUZZ_SECONDS is the time of all parsers
together. `make fuzz` takes an hour.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.badinput.parsers import PARSERS, try_parser

from grsap.files import hash_bytes

ROOT = Path(__file__).parents[2]
NUM_EXAMPLES = 40

TEXT = st.text(st.characters(), max_size=12)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
VALUE = st.recursive(
    SCALAR, lambda child: st.lists(child, max_size=3) | st.dictionaries(TEXT, child, max_size=3), max_leaves=6
)


def mapping(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    """Some of these keys, and now and then another, with any values."""
    return st.dictionaries(st.sampled_from(keys) | TEXT, VALUE, max_size=5)


TURN = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]) | SCALAR, "content": VALUE})
MESSAGES = st.lists(TURN | VALUE, max_size=4) | VALUE
ROW = mapping(
    "messages", "schema", "id", "query", "response", "prompt", "is_safe", "domain", "behaviour", "difficulty", "subset"
).flatmap(lambda row: MESSAGES.map(lambda messages: {**row, "messages": messages}) | st.just(row))
SPEC = mapping(
    "name", "kind", "source", "columns", "prompt_template", "prompt_harmful", "where", "choices", "labels", "answer",
    "limit", "extends",
)  # fmt: skip
CONFIG = mapping("output_dir", "source", "name", "columns", "choose", "where", "prompt_harmful", "limit", "seed")


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def as_jsonl(rows: list[Any]) -> bytes:
    return b"\n".join(map(as_json, rows))


def as_yaml(value: Any) -> bytes:
    return yaml.safe_dump(value).encode("utf-8", "surrogatepass")


def as_csv(rows: list[list[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows([["query", "response", "is_safe", "domain"], *rows])
    return file.getvalue().encode("utf-8", "replace")


JSONL = st.lists(ROW, max_size=3).map(as_jsonl)
CSV = st.lists(st.lists(TEXT, min_size=3, max_size=5), max_size=3).map(as_csv)
ANSWER = st.lists(
    st.sampled_from(
        ["Yes", "no", "A", "(B)", "####", "\\boxed{", "}", "12", "1/2", "answer is", ":", "\n", "Harmful request"]
    )
    | TEXT,
    max_size=8,
).map(lambda parts: " ".join(parts).encode("utf-8", "surrogatepass"))
DOMAINS = st.lists(mapping("name", "definition", "group"), max_size=3).map(as_yaml)

INPUTS: dict[str, st.SearchStrategy[bytes]] = {
    "config": CONFIG.map(as_yaml),
    "benchmark": SPEC.map(as_yaml),
    "domains": DOMAINS,
    "replay_jsonl": JSONL,
    "replay_csv": CSV,
    "task_jsonl": JSONL,
    "task_csv": CSV,
    "probes": JSONL,
    "manifest": mapping("schema", "counts", "files", "status").map(as_json),
    "messages": MESSAGES.map(as_json),
    "verdicts": ANSWER,
    "choice": ANSWER,
    "number": ANSWER,
    "math": ANSWER,
    "address": TEXT.map(lambda text: f"http://{text}/v1".encode("utf-8", "surrogatepass")),
    "retry_after": ANSWER,
}


def test_each_parser_has_inputs() -> None:
    assert set(INPUTS) == set(PARSERS)


@pytest.mark.parametrize("name", PARSERS)
def test_inputs_of_the_form(name: str) -> None:
    @settings(max_examples=NUM_EXAMPLES)
    @given(INPUTS[name])
    def parses(data: bytes) -> None:
        try_parser(name, data)

    parses()


@pytest.mark.parametrize("name", PARSERS)
def test_any_bytes_and_damaged_inputs(name: str) -> None:
    @settings(max_examples=NUM_EXAMPLES)
    @given(st.binary(max_size=60), INPUTS[name], st.integers(0, 200))
    def parses(noise: bytes, data: bytes, place: int) -> None:
        try_parser(name, data[:place] + noise + data[place + len(noise) :])

    parses()


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_by_coverage(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("needs atheris: make fuzz installs it")
    seconds = int(float(os.environ.get("GRSAP_FUZZ_SECONDS", "160")) / len(PARSERS))
    corpus = tmp_path / "corpus"
    corpus.mkdir()

    @settings(max_examples=NUM_EXAMPLES)
    @given(INPUTS[name])
    def seed(data: bytes) -> None:
        (corpus / hash_bytes(data)).write_bytes(data)

    seed()
    found = subprocess.run(
        [sys.executable, "-m", "tests.badinput.fuzz", name, str(corpus), f"-max_total_time={max(1, seconds)}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, f"{found.stdout[-2000:]}\n{found.stderr[-6000:]}"
