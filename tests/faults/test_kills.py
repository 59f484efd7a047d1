"""SIGKILL and SIGTERM at any moment, several times in one run: it ends as the one that was left alone."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest
from tests.faults.cases import CASES, OUT, Case
from tests.faults.conftest import Place
from tests.faults.harness import attempt
from tests.faults.session import Session
from tests.faults.switch import Switch, representative

NUM_KILLS = 50


def by_verb(case: Case) -> str:
    return case.verb


def check_finished(case: Case, folder: Path, whole: Path) -> None:
    """The same call goes on to the end, and what it leaves is what the uninterrupted one left."""
    last = attempt(folder, case.words(again=True))
    assert last.code == 0, last.told
    case.check_same(folder, whole)


@pytest.mark.parametrize("case", CASES, ids=by_verb)
def test_killed_at_random_moments(case: Case, place: Place, session: Session) -> None:
    whole = place(case, "whole")
    first = attempt(whole, case.words())
    assert first.code == 0, first.told
    asked = Counter(case.asked(whole))
    assert case.verb == "study" or set(asked.values()) <= {1}  # its stages ask for the same
    draw = session.draw
    while session.figures.get("kills", 0) < NUM_KILLS and not (session.figures and session.is_over()):
        folder = place(case, "killed")
        num_kills = 0
        for again in range(draw.randint(2, 8)):
            number = draw.choice([signal.SIGKILL] * 4 + [signal.SIGTERM])
            moment = draw.uniform(0.0, first.seconds)
            ended = attempt(folder, case.words(again=again > 0), kill_after_s=moment, number=number)
            if ended.code == 0:
                break
            assert ended.code in (-number, 143) if number == signal.SIGTERM else (ended.code == -number), ended.told
            num_kills += 1
        check_finished(case, folder, whole)
        # Only what a kill found in the air was asked for again.
        again_asked = Counter(case.asked(folder))
        assert set(again_asked) == set(asked)
        assert again_asked.total() <= asked.total() + case.num_in_the_air * num_kills
        shutil.rmtree(folder)
        session.count("runs")
        session.count("kills", num_kills)


@pytest.mark.parametrize(
    ("case", "half"),
    [pytest.param(case, half, id=f"{case.verb}-{'half' if half else 'before'}")
     for case in CASES for half in (False, True) if not (half and case.verb == "import")],
)  # fmt: skip
def test_killed_at_each_change_of_a_file(case: Case, half: bool, place: Place, session: Session) -> None:
    """Before each call that changes the folder; or with half of what it was to write written."""
    whole = place(case, "whole")
    first = attempt(whole, case.words(), switch=Switch(whole / OUT))
    assert first.code == 0, first.told
    numbers = representative(first.changes)
    if half:
        numbers = [number for number in numbers if first.changes[number - 1].call == "write"]
    assert numbers
    draw = session.draw
    for number in session.some(numbers):
        folder = place(case, "killed")
        killed = attempt(folder, case.words(), switch=Switch(folder / OUT, number, half=half))
        assert killed.code in case.killed_codes, killed.told
        assert killed.changes[-1] == first.changes[number - 1]
        for _ in range(draw.randint(0, 2)):
            again = Switch(folder / OUT, draw.randint(1, len(first.changes)), half=half)
            assert attempt(folder, case.words(again=True), switch=again).code in (0, *case.killed_codes)
        check_finished(case, folder, whole)
        shutil.rmtree(folder)
        session.count("places")
