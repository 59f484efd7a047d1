"""YAML as settings are written in: words stay words, and what could exhaust the machine is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from grsap.yaml_text import MAX_BYTES, MAX_DEPTH, dump_yaml, load_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("off", "on", "yes", "no", "y", "N", "2024-01-01", "1:30", "010", "0o7", "=")),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("1_000", 1000), ("0x1F", 31), ("-3", -3), ("1e5", 1e5), ("1.5e-3", 1.5e-3), (".5", 0.5), ("2.", 2.0),
        ("1e400", math.inf), ("-.inf", -math.inf), ("{1: a}", {1: "a"}),
        ("a: {<<: {b: 1, c: 1}, b: 2}", {"a": {"b": 2, "c": 1}}),
        ('"\\0"', "\0"),
    ],
)  # fmt: skip
def test_scalars(text: str, value: Any) -> None:
    found = load_yaml(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "the key a is given twice"),
        ("? [1]\n: 2", "a key must be a word or number"),
        ("null: 2", "a key must be a word or number"),
        ("a: &x [*x]", "*x contains itself"),
        ("!!python/object:os.system x", "could not determine a constructor"),
        ("!!timestamp 2024-01-01", "could not determine a constructor"),
        ("!!set {a, b}", "could not determine a constructor"),
        ("!!bool maybe", "a value cannot be read"),
        ("9" * 5000, "a value cannot be read"),
        ("a: \ud800", "a value cannot be read"),
        ('"\\ud800"', "invalid Unicode character"),
        ("a: \x1b", "control characters are not allowed"),
        ("--- a\n--- b", "expected a single document"),
        ("[" * 200_000, f"nested more than {MAX_DEPTH} deep"),
        ("{a: " * 200_000, f"nested more than {MAX_DEPTH} deep"),
        ("a: " + "x" * MAX_BYTES, "more than 16 MiB"),
    ],
    ids=lambda text: text[:12],
)
def test_refusals(text: str, problem: str) -> None:
    with pytest.raises(yaml.YAMLError, match="(?s).*" + problem.replace("*", r"\*")):
        load_yaml(text)


def test_aliases_are_counted_as_they_are_written_out() -> None:
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert len(load_yaml("\n".join(levels[:4]))["l3"]) == 10
    with pytest.raises(yaml.YAMLError, match="more than 1,000,000 values"):
        load_yaml("\n".join(levels))


@pytest.mark.parametrize(
    "value",
    ["1e5", "1:30", "off", "010", "1_0", "0x1", ".5", "2024-01-01", "~", "", "null", "a: b", "<<", "\x1b", "a\0b",
     "\u2028", 1e5, 1e-7, math.inf, True, None, 10**30, [1, {"b": []}]],
)  # fmt: skip
def test_what_is_written_is_read_again(value: Any) -> None:
    assert load_yaml(dump_yaml({"key": value})) == {"key": value}


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(yaml.YAMLError, match="the file has more than 16 MiB"):
        read_yaml(path)
