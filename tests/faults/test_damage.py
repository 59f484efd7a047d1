"""Files that were cut, emptied or changed by a bit between two calls: made again or refused, and never believed."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from tests.faults.cases import CASES, OUT, Case
from tests.faults.conftest import Place
from tests.faults.harness import attempt
from tests.faults.session import Session
from tests.faults.switch import Switch

NUM_ROUNDS = 12
"""Of each kind of damage, to the newest file after a kill and to any file after the end."""


def by_verb(case: Case) -> str:
    return case.verb


def damage(path: Path, kind: str, draw: random.Random) -> str:
    """Damage a file; says how."""
    data = bytearray(path.read_bytes())
    if kind == "empty" or not data:
        path.write_bytes(b"")
        return f"{path.name} emptied"
    place = draw.randrange(len(data))
    if kind == "cut":
        path.write_bytes(data[:place])
        return f"{path.name} cut to {place} of {len(data)} bytes"
    data[place] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    return f"{path.name} with byte {place} changed to {data[place]}"


def files(folder: Path) -> list[Path]:
    """Of the output, the newest last; without locks and what is not whole yet."""
    found = [path for path in (folder / OUT).rglob("*") if path.is_file() and path.name != ".lock"]
    return sorted((path for path in found if path.suffix != ".tmp"), key=lambda path: path.stat().st_mtime_ns)


def check_recovers(case: Case, folder: Path, whole: Path, path: Path, kind: str, draw: random.Random) -> str:
    """Damage a file. The call ends with the right result, or it refuses and names the file; returns which."""
    kept = path.read_bytes()
    how = damage(path, kind, draw)
    if path.read_bytes() == kept:
        return "unchanged"
    again = attempt(folder, case.words(again=True))
    told = " ".join(again.told.split())
    assert again.code in (0, 2), f"{how}: {told}"
    assert "internal error" not in told
    is_refused = again.code == 2
    if is_refused:
        assert path.name in told or path.parent.name in told, f"{how}: {told}"
        path.write_bytes(kept)
        again = attempt(folder, case.words(again=True))
        assert again.code == 0, f"{how}, then restored: {again.told}"
    try:
        case.check_same(folder, whole, is_mended=True)
    except AssertionError as error:
        raise AssertionError(f"{how}: {told}\n{error}") from error
    return "refused" if is_refused else "made again"


@pytest.mark.parametrize("kind", ["cut", "empty", "bit"])
@pytest.mark.parametrize("case", CASES, ids=by_verb)
def test_the_newest_file_is_damaged_after_a_kill(case: Case, kind: str, place: Place, session: Session) -> None:
    whole = place(case, "whole")
    first = attempt(whole, case.words(), switch=Switch(whole / OUT))
    assert first.code == 0, first.told
    draw = session.draw
    for _ in session.some(range(NUM_ROUNDS)):
        folder = place(case, "damaged")
        at = draw.randint(5, len(first.changes))
        attempt(folder, case.words(), switch=Switch(folder / OUT, at))
        if found := files(folder):
            session.count(check_recovers(case, folder, whole, found[-1], kind, draw))
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["cut", "empty", "bit"])
@pytest.mark.parametrize("case", CASES, ids=by_verb)
def test_any_file_is_damaged_after_the_end(case: Case, kind: str, place: Place, session: Session) -> None:
    whole = place(case, "whole")
    first = attempt(whole, case.words())
    assert first.code == 0, first.told
    draw = session.draw
    names = [path.relative_to(whole) for path in files(whole)]
    names = [name for name in names if not any(name.relative_to(OUT).match(pattern) for pattern in case.unread)]
    for name in session.some(names):
        folder = whole.with_name("damaged")
        shutil.copytree(whole, folder, symlinks=True)
        session.count(check_recovers(case, folder, whole, folder / name, kind, draw))
        shutil.rmtree(folder)
