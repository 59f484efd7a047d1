"""One kill of each verb in the middle of its work, in the ordinary suite; the others here have the marker `faults`."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest
from tests.faults.cases import CASES, OUT, Case
from tests.faults.conftest import Place
from tests.faults.harness import attempt
from tests.faults.switch import Switch
from tqdm.auto import tqdm


@pytest.mark.parametrize("case", CASES, ids=[case.verb for case in CASES])
def test_killed_once(case: Case, place: Place) -> None:
    """The same call ends with what the uninterrupted one left, and asks again for what was in progress alone."""
    whole, killed = place(case, "whole"), place(case, "killed")
    first = attempt(whole, case.words(), switch=Switch(whole / OUT))
    assert first.code == 0, first.told
    ended = attempt(killed, case.words(), switch=Switch(killed / OUT, len(first.changes) * 2 // 3))
    assert ended.code in case.killed_codes, ended.told
    last = attempt(killed, case.words(again=True))
    assert last.code == 0, last.told
    case.check_same(killed, whole)
    asked, again = Counter(case.asked(whole)), Counter(case.asked(killed))
    assert set(again) == set(asked)
    assert again.total() <= asked.total() + case.num_in_the_air


def test_a_child_that_is_killed_while_it_prints_blocks_no_other(place: Place) -> None:
    tqdm(disable=True)  # each subclass of `tqdm` has a lock, made with its first bar
    child = os.fork()
    if child == 0:
        tqdm.get_lock().acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    for lock in tqdm.get_lock().locks:
        assert lock.acquire(True, 1.0)
        lock.release()
