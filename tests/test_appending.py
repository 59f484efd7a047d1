from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from grsap.appending import AppendFile, json_line
from grsap.errors import RunFolderError


def test_pieces_are_added_to_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AppendFile(path) as file:
        file.append(b'{"a": 1}\n')
    with AppendFile(path) as file:
        file.append(b'{"a": 2}\n')
        assert (file.size_bytes, file.num_repaired_bytes) == (18, 0)
    assert path.read_bytes() == b'{"a": 1}\n{"a": 2}\n'
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b""),
        (b'{"a": 1}\n', b'{"a": 1}\n'),
        (b'{"a": 1}\n{"b', b'{"a": 1}\n'),
        (b'{"a": 1}\n{"b": 2}', b'{"a": 1}\n'),
        (b'{"a": 1}\n\0\0\0\0\n', b'{"a": 1}\n'),
        (b"no line at all", b""),
        (b'{"a": 1}\n"' + b"x" * 200_000, b'{"a": 1}\n'),
        (b'{"a": 1}\n"' + b"x" * 200_000 + b'"\n', b'{"a": 1}\n"' + b"x" * 200_000 + b'"\n'),
    ],
)
def test_a_half_written_end_is_removed(content: bytes, kept: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with AppendFile(path) as file:
        assert file.num_repaired_bytes == len(content) - len(kept)
        file.append(b"[]\n")
    assert path.read_bytes() == kept + b"[]\n"


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    file = AppendFile(path)
    file.append(b"[1]\n")
    write = os.write

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunFolderError, match=r"a\.jsonl cannot be written: No space left on device. Free space"):
        file.append(b"[22]\n")
    assert path.read_bytes() == b"[1]\n"
    monkeypatch.undo()
    file.append(b"[3]\n")
    assert path.read_bytes() == b"[1]\n[3]\n"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"cannot be written: No such file or directory"):
        AppendFile(tmp_path / "no" / "a.jsonl")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_could_not_be_read_back_is_not_written(number: float) -> None:
    for text in ("a", "\ud800"):
        with pytest.raises(ValueError, match="not JSON compliant"):
            json_line({"text": text, "number": [number]})
