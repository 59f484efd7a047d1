"""Disk errors are the user's, and name the file."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from grsap.appending import AppendFile
from grsap.commands.boundary import run_guarded
from grsap.disk import disk_error, writing
from grsap.errors import ConfigError, RunFolderError
from grsap.files import atomic_writer, write_atomic, write_dir_atomic, write_json
from grsap.records import write_jsonl
from grsap.training.metrics_log import MetricsLog

LIMIT = 100_000
TOO_MUCH = b"x" * (LIMIT + 1)


@contextmanager
def small_files() -> Iterator[None]:
    """Inside, this process cannot write files of more than `LIMIT` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def by_pieces(path: Path) -> None:
    with atomic_writer(path) as file:
        for _ in range(30):
            file.write(TOO_MUCH[: LIMIT // 20])


def appended(path: Path) -> None:
    with AppendFile(path) as file:
        file.append(TOO_MUCH)


def metrics(path: Path) -> None:
    MetricsLog(path.parent).log_metrics({f"metric/{number:05d}": 0.1 for number in range(LIMIT // 10)}, step=1)


def weights(path: Path) -> None:
    tensors = {"weight": torch.zeros(LIMIT)}
    write_dir_atomic(path, lambda folder: save_file(tensors, folder / "model.safetensors"))


def state(path: Path) -> None:
    write_dir_atomic(path, lambda folder: torch.save(torch.zeros(LIMIT), folder / "trainer.ckpt"))


WRITERS: dict[str, Callable[[Path], None]] = {
    "whole.txt": lambda path: write_atomic(path, TOO_MUCH),
    "whole.json": lambda path: write_json(path, {"text": TOO_MUCH.decode()}),
    "rows.jsonl": lambda path: write_jsonl(path, [{"text": TOO_MUCH.decode()}]),
    "pieces.txt": by_pieces,
    "appended.jsonl": appended,
    "metrics.csv": metrics,
    "weights": weights,
    "state": state,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_names_the_file_that_does_not_fit(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        WRITERS[name](tmp_path / name)
        return 0

    with small_files():
        code = run_guarded(command)
    told = " ".join(capsys.readouterr().err.split())
    assert (code, told.startswith(f"error: {tmp_path / name} cannot be written: ")) == (2, True), told
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept <= {"appended.jsonl", "metrics.csv"}, "no half-written file stays, but for those that grow"


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOTDIR]
)
def test_errors_of_the_disk_are_told_with_the_file(number: int) -> None:
    with pytest.raises(RunFolderError) as told, writing("run/summary.json"):
        raise OSError(number, os.strerror(number))
    assert told.value.problem == f"run/summary.json cannot be written: {os.strerror(number)}"


def test_errors_of_libraries_are_known_by_their_text() -> None:
    rust = Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    assert str(disk_error(rust, "a")).startswith("a cannot be written: No space left on device. Free some space")
    torch_error = RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file data/0")
    assert disk_error(torch_error, "a") is not None
    wrapped = RuntimeError("saving failed")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device", "model.bin")
    assert str(disk_error(wrapped)).startswith("model.bin cannot be written: No space left on device")


@pytest.mark.parametrize(
    "error",
    [
        OSError("no number"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "a"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        PermissionError(errno.EACCES, "Permission denied"),  # without a file: of a socket
        ValueError("28"),
    ],
)
def test_other_errors_are_left_alone(error: Exception) -> None:
    assert disk_error(error) is None


def test_a_user_error_keeps_its_own_words() -> None:
    with pytest.raises(ConfigError, match="wrong"), writing("a"):
        raise ConfigError("wrong", "mend it") from OSError(errno.EIO, "Input/output error")
