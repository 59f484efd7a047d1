"""Errors. Each message names what is wrong, where, and the remedy; the command line prints it as one paragraph."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class GrsapError(Exception):
    """Base of all errors that grsap raises deliberately. `exit_code` is that of the process."""

    exit_code = 1


class UserError(GrsapError):
    """An input of the user is wrong.

    Args:
        problem: what is wrong, with the key, file or row.
        remedy: what to do about it.
        part: the object whose argument is wrong. The problem then begins with the argument's name; the command line
            prepends the object's key in the settings.
    """

    exit_code = 2

    def __init__(self, problem: str, remedy: str, *, part: object | None = None) -> None:
        super().__init__(f"{problem.rstrip('.')}. {remedy.rstrip('.')}.")
        self.problem = problem
        self.remedy = remedy
        self.part = part

    def reword(self, problem: str) -> None:
        """Replace the problem and keep the remedy."""
        self.problem = problem
        self.args = (f"{problem.rstrip('.')}. {self.remedy.rstrip('.')}.",)


@contextmanager
def arguments_of(part: object) -> Iterator[None]:
    """Attribute errors of functions called inside the block to `part`, whose arguments they check."""
    try:
        yield
    except UserError as error:
        error.part = part
        raise


def user_error_within(error: BaseException) -> UserError | None:
    """Return the `UserError` that a library's error wraps, if any; running out of memory counts as one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, UserError):
            return seen
        if is_out_of_memory(seen):
            return OutOfMemory(seen)
        seen = seen.__cause__
    return None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text without a full stop, or its type if there is no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


_OUT_OF_MEMORY_TEXTS = (
    "can't allocate memory",  # PyTorch's DefaultCPUAllocator
    "DefaultCPUAllocator: not enough memory",  # the same on Windows
    "out of memory",  # CUDA, cuDNN, HIP
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Cannot allocate memory",  # the system: mmap, fork
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a CPU or GPU."""
    if isinstance(error, MemoryError):
        return True
    if type(error).__name__ == "OutOfMemoryError":  # torch's; this module does not import torch
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(text in str(error) for text in _OUT_OF_MEMORY_TEXTS)


class ConfigError(UserError):
    """A setting is missing, unknown or out of range."""


class DataError(UserError):
    """A data file or one of its rows is wrong.

    Args:
        problem: what is wrong.
        remedy: what to do about it.
        path: the file.
        line: line of the file, from 1.
    """

    def __init__(self, problem: str, remedy: str, *, path: str | Path | None = None, line: int | None = None) -> None:
        place = "" if path is None else f"{path}: " if line is None else f"{path}, line {line}: "
        super().__init__(place + problem, remedy)
        self.path = None if path is None else Path(path)
        self.line = line


class TurnsError(DataError):
    """The turns of a row do not alternate between user and assistant."""


class NotUnicodeError(DataError):
    """A text of a row contains a lone surrogate, which UTF-8 cannot encode."""


class TemplateError(UserError):
    """The tokenizer has no chat template, or one from which no response mask can be computed."""


class ModelError(UserError):
    """A base model or an adapter cannot be found or does not fit."""


class OutOfMemory(UserError):
    """The model, its activations or its cache did not fit into memory.

    Args:
        error: the allocator's error.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"out of memory: {first_line(error)}",
            "Lower data.batching.max_tokens_per_micro_batch (in training) or max_batch_tokens (in generation), set "
            "model.base.gradient_checkpointing, or quantize with model.base.quantization; grsap fit --dry-run "
            "estimates what a run needs",
        )


class RunFolderError(UserError):
    """The run folder is in use, not writable, or belongs to another configuration."""


class MissingPackageError(UserError):
    """An optional package is missing; the remedy names the extra that installs it."""


class BackendError(GrsapError):
    """A generation server or engine has stopped answering, or its answers cannot be read.

    Args:
        problem: what happened, and how many answers there are so far.
        remedy: what to do about it.
        num_answers: answers returned before, which remain valid.
    """

    def __init__(self, problem: str, remedy: str, *, num_answers: int = 0) -> None:
        super().__init__(f"{problem.rstrip('.')}. {remedy.rstrip('.')}.")
        self.problem = problem
        self.remedy = remedy
        self.num_answers = num_answers


class StageError(GrsapError):
    """A stage of a study failed.

    Args:
        problem: name of the stage, and how it ended.
        remedy: what to do about it.
        code: exit code of the stage, which becomes the study's; if negative, the signal that ended it.
    """

    def __init__(self, problem: str, remedy: str, code: int) -> None:
        super().__init__(f"{problem.rstrip('.')}. {remedy.rstrip('.')}.")
        self.exit_code = code if code > 0 else 1


class NonFiniteLossError(GrsapError):
    """The loss became NaN or infinite; the message names the step and the rows."""


class Interrupted(SystemExit):
    """A signal stopped the work; finished work is on disk.

    A signal can arrive at any line, of a library too. The base class is not `Exception`, so that no `except Exception`
    around that line swallows it or takes it for a wrong input.

    The exit code is 128 + the signal's number, as in shells: 143 for SIGTERM, 138 for SIGUSR1, 129 for SIGHUP. A
    first Ctrl-C counts as SIGTERM: 130 means that nothing was saved.

    Args:
        message: what was stopped, and how to continue.
        number: number of the signal.
    """

    exit_code = 143

    def __init__(self, message: str, number: int = signal.SIGTERM) -> None:
        super().__init__(message)
        self.signal_name = signal.Signals(number).name
        self.exit_code = 128 + (signal.SIGTERM if number == signal.SIGINT else number)
