"""Bad inputs of all verbs: each ends with exit code 2 and a message that names what is wrong and what to do about it.

Nothing is written and no weights are loaded. The rows are in `table/`: a module there with `CASES` is found by itself.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.badinput.case import Case, faults_of
from tests.badinput.conftest import TIME_LIMIT, time_limit, tree
from tests.badinput.worlds import WORLDS, lay_out

from grsap.cli import VERBS, main

TABLE = sorted(path.stem for path in (Path(__file__).parent / "table").glob("[!_]*.py"))
CASES: list[Case] = [case for name in TABLE for case in importlib.import_module(f"tests.badinput.table.{name}").CASES]


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.id, marks=[pytest.mark.slow] if case.slow else []) for case in CASES]
)
def test_bad_input(
    case: Case,
    place: Path,
    loads: list[str],
    tiny_base_path: Path,
    capfd: pytest.CaptureFixture[str],
    record_property: Callable[[str, Any], None],
) -> None:
    record_property("bad_input", case.id)
    words = lay_out(case, place, tiny_base_path)
    before = tree(place)
    with time_limit(TIME_LIMIT):
        code = main(words)
    printed = capfd.readouterr()
    faults = faults_of(case, code, printed.err, printed.out)
    after = tree(place)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    faults += [f"it wrote {name}" for name in changed if "__pycache__" not in name]
    faults += [f"{name} was asked for weights" for name in loads]
    assert not faults, f"{'; '.join(faults)}\ntold: {printed.err}"


def test_each_case_has_an_id_of_its_own_and_each_verb_has_cases() -> None:
    assert [name for name, num in Counter(case.id for case in CASES).items() if num > 1] == []
    assert {case.verb for case in CASES} == set(VERBS) == set(WORLDS)


GOOD = [Case(verb, verb, ()) for verb, world in WORLDS.items() if world.settings]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.id)
def test_what_the_cases_change_is_good(
    case: Case, place: Path, tiny_base_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = lay_out(case, place, tiny_base_path)
    dry = ["--dry-run"] if case.verb in ("fit", "study") else []
    assert main([*words, *dry]) == 0, capfd.readouterr().err
