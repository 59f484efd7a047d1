"""A fit that is killed at any moment, on one device and two, or finds its newest checkpoint damaged: same end."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.cases import OUT, Case
from tests.faults.conftest import Place
from tests.faults.fit_case import FIT, FIT_ON_TWO_RANKS
from tests.faults.harness import attempt
from tests.faults.session import Session
from tests.faults.switch import Switch, representative

NUM_KILLS = 50


def check_finished(case: Case, folder: Path, whole: Path, ranks: int = 1) -> None:
    """The same call resumes and ends, and what it leaves is what the uninterrupted one left."""
    last = attempt(folder, case.words(again=True), ranks=ranks)
    assert last.code == 0, last.told
    case.check_same(folder, whole)


@pytest.mark.parametrize(("case", "ranks"), [(FIT, 1), (FIT_ON_TWO_RANKS, 2)], ids=["one device", "two devices"])
def test_fit_killed_at_random_moments(case: Case, ranks: int, place: Place, session: Session) -> None:
    whole = place(case, "whole")
    first = attempt(whole, case.words(), ranks=ranks)
    assert first.code == 0, first.told
    draw = session.draw
    while session.figures.get("kills", 0) < NUM_KILLS and not (session.figures and session.is_over()):
        folder = place(case, "killed")
        for again in range(draw.randint(2, 8)):
            moment = draw.uniform(0.0, first.seconds)
            ended = attempt(folder, case.words(again=again > 0), kill_after_s=moment, ranks=ranks)
            if ended.code == 0:
                break
            assert ended.code == -signal.SIGKILL, ended.told
            session.count("kills")
        check_finished(case, folder, whole, ranks)
        shutil.rmtree(folder)
        session.count("runs")


def test_fit_killed_at_each_change_of_a_file(place: Place, session: Session) -> None:
    """Before each call that changes the run folder."""
    whole = place(FIT, "whole")
    first = attempt(whole, FIT.words(), switch=Switch(whole / OUT))
    assert first.code == 0, first.told
    for number in session.some(representative(first.changes)):
        folder = place(FIT, "killed")
        killed = attempt(folder, FIT.words(), switch=Switch(folder / OUT, number))
        assert killed.code == -signal.SIGKILL, killed.told
        check_finished(FIT, folder, whole)
        shutil.rmtree(folder)
        session.count("places")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty])
def test_fit_resumes_before_a_damaged_checkpoint(
    damage: Callable[[Path], None], place: Place, session: Session
) -> None:
    """Each file of the newest checkpoint in turn: it is set aside, and the one before is resumed."""
    whole = place(FIT, "whole")
    first = attempt(whole, FIT.words(), switch=Switch(whole / OUT))
    assert first.code == 0, first.told
    stop = max(n for n, each in enumerate(first.changes, 1) if "step=000005" in each.name and each.call == "rename")
    killed = place(FIT, "killed")
    assert attempt(killed, FIT.words(), switch=Switch(killed / OUT, stop + 1)).code == -signal.SIGKILL
    newest = sorted((killed / OUT / "checkpoints").iterdir())[-1]
    files = sorted(path.name for path in newest.iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors", "state.json", "trainer.ckpt"]
    for file in files:
        folder = killed.with_name("damaged")
        shutil.copytree(killed, folder)
        damage(folder / OUT / "checkpoints" / newest.name / file)
        last = attempt(folder, FIT.words(again=True))
        assert last.code == 0, last.told
        assert "is damaged" in last.told
        aside = folder / OUT / "checkpoints" / "set_aside"
        assert sorted(path.name for path in (aside / "1" / newest.name).iterdir()) == files
        shutil.rmtree(aside)
        FIT.check_same(folder, whole)
        shutil.rmtree(folder)
        session.count("damages")
