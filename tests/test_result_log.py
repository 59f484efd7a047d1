"""Results that are kept: what is in the file is found again, and memory holds where it is, not what it is."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from grsap.checksums import checked_line
from grsap.errors import DataError
from grsap.result_log import ResultLog


def log_at(path: Path) -> ResultLog:
    return ResultLog(path, ("prompt", "sample"), "grsap.answer/1")


def entry(prompt: str, sample: int = 0, text: str = "a") -> dict[str, object]:
    return {"prompt": prompt, "sample": sample, "text": text}


def test_entries_are_found_in_the_call_that_added_them_and_in_the_next(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.jsonl"
    with log_at(path) as log:
        assert log.get("x", 0) is None
        assert not path.parent.exists()
        log.add([entry("x"), entry("x", 1, "b")])
        log.add([entry("x", 1, "c"), entry("y", 0, "d")])  # the first of a key counts
        assert log.get("x", 1) == {"schema": "grsap.answer/1", **entry("x", 1, "b")}
    with log_at(path) as again:
        assert [each["text"] for _, each in again.lines()] == ["a", "b", "d"]
        again.add([entry("y", 0, "e"), entry("z", 0, "f")])
        found = [again.get(*key) for key in (("x", 0), ("x", 1), ("y", 0), ("z", 0), ("z", 1))]
        assert [each and each["text"] for each in found] == ["a", "b", "d", "f", None]
        assert (("y", 0) in again, ("y", 1) in again) == (True, False)
    assert len(path.read_bytes().splitlines()) == 4


def test_a_half_written_end_is_removed_and_a_changed_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with log_at(path) as log:
        log.add([entry("x"), entry("y", 0, "b")])
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with log_at(path) as log:
        assert ("y", 0) not in log
        log.add([entry("y", 0, "b")])
    assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b'"b"', b'"c"'))
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: is damaged"):
        log_at(path).get("x", 0)
    path.write_bytes(whole + checked_line({"schema": "other/1"}))
    with pytest.raises(DataError, match=r"line 3: not a line of grsap\.answer/1"):
        log_at(path).get("x", 0)


def test_a_line_that_is_changed_while_the_log_is_open_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with log_at(path) as log:
        log.add([entry("x")])
        path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"'))
        with pytest.raises(DataError, match="is damaged"):
            log.get("x", 0)


def test_memory_holds_no_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    text = "word " * 200
    path.write_bytes(
        b"".join(checked_line({"schema": "grsap.answer/1", **entry(str(n), 0, text)}) for n in range(5000))
    )
    tracemalloc.start()
    with log_at(path) as log:
        assert ("4999", 0) in log
        assert tracemalloc.get_traced_memory()[0] < 500_000  # bytes; the texts are 5 MB
        found = log.get("77", 0)
        assert found is not None
        assert found["text"] == text
    tracemalloc.stop()


def test_keys_of_one_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grsap.result_log.hash", lambda key: 7, raising=False)
    with log_at(tmp_path / "a.jsonl") as log:
        log.add([entry("x")])
        assert log.get("y", 0) is None
