"""Whole files or none."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from grsap.data.row_source import RowSource
from grsap.embedded import resolve
from grsap.errors import DataError, MissingPackageError, RunFolderError
from grsap.files import folder_lock, hash_file, hash_json, write_atomic, write_dir_atomic, write_json


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_files_of_text_are_private_when_asked(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"x", mode=0o600)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "one").write_text("1")

    def fail(folder: Path) -> None:
        (folder / "two").write_text("2")
        raise RuntimeError("stopped")

    write_dir_atomic(tmp_path / "out", fill)
    with pytest.raises(RuntimeError, match="stopped"):
        write_dir_atomic(tmp_path / "out", fail)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["out", "out/one"]


def test_hashes_are_those_of_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a") == "ba7816bf8f01cfea"
    assert hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1})
    assert hash_json({"a": 1}) != hash_json({"a": 2})


def test_a_lock_leaves_a_folder_as_it_was_if_nothing_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with pytest.raises(KeyError), folder_lock(folder):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    with folder_lock(tmp_path / "empty"):
        pass
    assert list((tmp_path / "empty").iterdir()) == []
    with folder_lock(folder):
        (folder / "result").write_text("")
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "result"]


def test_a_lock_file_that_its_holder_removed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".lock").write_text("")
    (tmp_path / "other").write_text("")
    flock = fcntl.flock

    def late(handle: object, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        (tmp_path / ".lock").unlink()  # between `open` and `flock`
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with folder_lock(tmp_path), pytest.raises(RunFolderError, match="is in use by process"), folder_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunFolderError, match=r"run_dir .*file cannot be written: File exists\. Choose another with"),
        folder_lock(tmp_path / "file"),
    ):
        pass

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")  # as root, a folder without the right to write is still written

    monkeypatch.setattr("grsap.files.open_appending", refuse)
    with pytest.raises(RunFolderError, match="cannot be written: Permission denied"), folder_lock(tmp_path):
        pass


def test_a_folder_is_locked_once(tmp_path: Path) -> None:
    with (
        folder_lock(tmp_path / "run"),
        pytest.raises(RunFolderError, match=f"is in use by process {os.getpid()}"),
        folder_lock(tmp_path / "run"),
    ):
        pass
    with folder_lock(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").read_text() == f"{os.getpid()}\n"


def test_embedded_paths_name_files_of_the_package(tmp_path: Path) -> None:
    assert resolve("embedded:quickstart/replay.jsonl").is_file()
    assert resolve("embedded:configs/recipes/quickstart.yaml").is_file()
    assert resolve(tmp_path / "x") == tmp_path / "x"
    with pytest.raises(DataError, match="embedded:quickstart/none is not carried by this version"):
        resolve("embedded:quickstart/none")


def test_installed_paths_name_files_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site" / "carrier" / "data").mkdir(parents=True)
    (tmp_path / "site" / "carrier" / "__init__.py").write_text("raise SystemExit('code of the package is not run')")
    rows = tmp_path / "site" / "carrier" / "data" / "rows.jsonl"
    rows.write_text('{"prompt": "Why?"}\n')
    (tmp_path / "site" / "outside.jsonl").write_text("{}\n")
    (tmp_path / "site" / "single.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert resolve("installed:carrier/data/rows.jsonl") == rows
    source = RowSource("installed:carrier/data/rows.jsonl")
    source.check()
    assert [row for _, row in source.rows()] == [{"prompt": "Why?"}]
    assert source.describe() == {"path": source.path, "hash": hash_file(rows)}
    for name in ("carrier/none.jsonl", "carrier", "carrier/", "carrier/../outside.jsonl"):
        with pytest.raises(DataError, match=f"installed:{name}: the installed package carrier has no such file"):
            resolve(f"installed:{name}")
    for name in ("absent/rows.jsonl", "single/rows.jsonl"):
        with pytest.raises(MissingPackageError, match="Install it: pip install --no-deps"):
            resolve(f"installed:{name}")
    for name in ("", "../site/outside.jsonl", "os.path/x"):
        with pytest.raises(MissingPackageError, match="Name a package and its file"):
            resolve(f"installed:{name}")
