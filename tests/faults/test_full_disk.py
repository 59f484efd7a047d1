"""A full disk: exit code 2 and the file's name, nothing is lost, and with space again the same call goes on."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.cases import CASES, OUT, Case
from tests.faults.conftest import Place
from tests.faults.fit_case import FIT
from tests.faults.harness import Attempt, attempt
from tests.faults.session import Session
from tests.faults.switch import FULL, Change, Switch, representative

PAGE = 4096


def by_verb(case: Case) -> str:
    return case.verb


def check_told(ended: Attempt, names: set[str]) -> None:
    """One paragraph with a file's name, the reason and the remedy; no traceback."""
    told = " ".join(ended.told.split())
    assert ended.code == 2, told
    assert "No space left on device" in told, told
    assert any(name in told for name in names), (names, told)
    assert "Traceback" not in told
    assert "internal error" not in told


def final_names(change: Change) -> set[str]:
    """Of the file that a change serves, and of its folder if that is made as a whole. Users know no temporary names."""
    folder, _, file = change.name.rpartition("/")
    names = {OUT if file in ("", ".", ".lock") else _final(file), f"{OUT}/{change.name}"}
    parent = folder.rpartition("/")[2]
    return names | {_final(parent)} if parent.endswith(".tmp") else names


def _final(name: str) -> str:
    return name[1:-4] if name.startswith(".") and name.endswith((".tmp", ".old")) else name


@pytest.mark.parametrize("case", [*CASES, FIT], ids=by_verb)
def test_each_change_finds_the_disk_full(case: Case, place: Place, session: Session) -> None:
    """From that change on nothing more can be written; then there is space again."""
    whole = place(case, "whole")
    first = attempt(whole, case.words(), switch=Switch(whole / OUT))
    assert first.code == 0, first.told
    needing = ("open", "write", "fsync", "mkdir", "rename")
    numbers = [n for n in representative(first.changes, any_step=True) if first.changes[n - 1].call in needing]
    for number in session.some(numbers):
        change = first.changes[number - 1]
        folder = place(case, "full")
        full = attempt(folder, case.words(), switch=Switch(folder / OUT, number, FULL, for_good=True))
        check_told(full, final_names(change))
        last = attempt(folder, case.words(again=True))
        assert last.code == 0, last.told
        case.check_same(folder, whole)
        shutil.rmtree(folder)
        session.count("places")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of so many pages, or gives the mounted one that size. Needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    is_mounted = False

    def resize(num_pages: int) -> Path:
        nonlocal is_mounted
        flags = 0x20 if is_mounted else 0  # MS_REMOUNT
        options = f"size={num_pages * PAGE}".encode()
        if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
        is_mounted = True
        return folder

    yield resize
    if is_mounted:
        libc.umount2(os.fsencode(folder), 2)  # MNT_DETACH


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system; the test above needs none")
@pytest.mark.parametrize("case", CASES, ids=by_verb)
def test_a_small_disk_grows_page_by_page(
    case: Case, place: Place, small_disk: Callable[[int], Path], session: Session
) -> None:
    """A real file system that is full at one write after the other: each call gets one page further."""
    whole = place(case, "whole")
    first = attempt(whole, case.words())
    assert first.code == 0, first.told
    folder = place(case, "full")
    num_pages = 1
    disk = small_disk(num_pages)
    (folder / OUT).symlink_to(disk)
    names = {path.name for path in (whole / OUT).rglob("*")} | {OUT}
    while (ended := attempt(folder, case.words(again=num_pages > 1))).code:
        check_told(ended, names)
        num_pages += 1
        assert num_pages < 400
        small_disk(num_pages)
        session.count("sizes")
    (folder / OUT).unlink()
    shutil.copytree(disk, folder / OUT)
    case.check_same(folder, whole)
