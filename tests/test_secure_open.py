"""What someone who may write into a folder can plant there: links, pipes and devices at the names that grsap opens."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from grsap.appending import AppendFile, json_line
from grsap.errors import RunFolderError
from grsap.files import atomic_writer, folder_lock, waiting_lock, write_atomic, write_dir_atomic, write_json
from grsap.records import write_jsonl
from grsap.secure_open import create_file, open_appending, temporary_path
from grsap.training.metrics_log import MetricsLog

SECRET = "ssh-ed25519 AAAA\n"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "victim"
    file.write_text(SECRET)
    return file


def hold(folder: Path) -> None:
    with folder_lock(folder):
        pass


def wait(folder: Path) -> None:
    with waiting_lock(folder / ".lock"):
        pass


def append(folder: Path) -> None:
    with AppendFile(folder / "rows.jsonl") as file:
        file.append(json_line({"a": 1}))


def log(folder: Path) -> None:
    MetricsLog(folder).log_metrics({"a": 1.0}, 1)


OPENERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "folder lock": (".lock", hold),
    "waiting lock": (".lock", wait),
    "appended rows": ("rows.jsonl", append),
    "metrics": ("metrics.csv", log),
}


@pytest.mark.parametrize(("name", "opener"), OPENERS.values(), ids=OPENERS)
def test_a_planted_link_is_refused_and_its_target_unchanged(
    name: str, opener: Callable[[Path], None], victim: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / name).symlink_to(victim)
    with pytest.raises((RunFolderError, OSError), match="symbolic link"):
        opener(folder)
    assert victim.read_text() == SECRET


@pytest.mark.parametrize(("name", "opener"), OPENERS.values(), ids=OPENERS)
def test_a_link_to_nowhere_creates_nothing(name: str, opener: Callable[[Path], None], tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / name).symlink_to(tmp_path / "made")
    with pytest.raises((RunFolderError, OSError), match="symbolic link"):
        opener(folder)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(("name", "opener"), OPENERS.values(), ids=OPENERS)
def test_a_planted_pipe_is_refused_at_once(name: str, opener: Callable[[Path], None], tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    os.mkfifo(folder / name)
    with pytest.raises((RunFolderError, OSError), match="not a regular file"):
        opener(folder)


def test_a_folder_may_itself_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    for _, opener in OPENERS.values():
        opener(tmp_path / "run")
    assert {file.name for file in (tmp_path / "disk").iterdir()} == {".lock", "rows.jsonl", "metrics.csv"}


def planted(path: Path, ending: str = "tmp") -> Path:
    """As if an attacker had guessed the name of the temporary file."""
    return path.with_name(f".{path.name}.planted")


WRITERS: dict[str, Callable[[Path], None]] = {
    "write_atomic": lambda path: write_atomic(path, "new"),
    "write_json": lambda path: write_json(path, {}),
    "write_jsonl": lambda path: write_jsonl(path, []),
    "write_dir_atomic": lambda path: write_dir_atomic(path, lambda folder: None),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("exists", [True, False])
def test_a_temporary_name_that_exists_is_never_written_through(
    write: Callable[[Path], None], exists: bool, victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grsap.files.temporary_path", planted)
    if not exists:
        victim.unlink()
    (tmp_path / ".out.planted").symlink_to(victim)
    with pytest.raises((RunFolderError, OSError), match="exists"):
        write(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert victim.exists() == exists
    assert not exists or victim.read_text() == SECRET


def test_temporary_names_differ_each_time(tmp_path: Path) -> None:
    names = {temporary_path(tmp_path / "a.json").name for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(".a.json.") and name.endswith(".tmp") for name in names)
    assert min(len(name) for name in names) > len(".a.json..tmp") + 10


def test_a_link_at_the_final_name_is_replaced_and_not_followed(victim: Path, tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        (tmp_path / name).symlink_to(victim)
        write(tmp_path / name)
        assert not (tmp_path / name).is_symlink()
    with atomic_writer(victim.with_name("piecewise")) as file:
        file.write(b"x")
    assert victim.read_text() == SECRET
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_modes_are_those_asked_for(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        os.close(create_file(tmp_path / "a", 0o600))
        os.close(open_appending(tmp_path / "b", 0o600))
        append(tmp_path)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "b", "rows.jsonl")}
    assert modes == {0o600}
