"""Whose fault an error is: the user's own class, a setting, or grsap's. Told in one paragraph, exit codes 2 and 1."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from tests.commands.conftest import Run

from grsap.commands import blame
from grsap.commands.boundary import run_guarded


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a module of this text from the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(text: str) -> Any:
        (tmp_path / "my_own_code.py").write_text(text)
        monkeypatch.delitem(sys.modules, "my_own_code", raising=False)
        importlib.invalidate_caches()
        return importlib.import_module("my_own_code")

    return load


def test_an_error_in_the_users_code_is_told_with_file_line_and_function(
    own_module: Callable[[str], Any], error_of: Callable[[], str]
) -> None:
    module = own_module("class Mine:\n    def rows(self):\n        return {}['prompt']\n")
    assert run_guarded(module.Mine().rows) == 2
    told = "my_own_code.py, line 3, in Mine.rows: KeyError: 'prompt'. Correct it there; --debug shows the traceback."
    assert error_of() == f"error: {told}"


def test_an_error_below_the_users_code_is_still_the_users(
    own_module: Callable[[str], Any], error_of: Callable[[], str]
) -> None:
    module = own_module("import json\n\ndef command():\n    json.loads('{')\n")
    assert run_guarded(module.command) == 2
    assert error_of().startswith("error: my_own_code.py, line 4, in command: JSONDecodeError: Expecting property name")


def test_a_method_without_the_parameters_of_its_base_class_is_the_users(
    own_module: Callable[[str], Any], error_of: Callable[[], str]
) -> None:
    module = own_module("class Mine:\n    def factor(self, step):\n        return 1\n")
    assert run_guarded(partial(module.Mine().factor, 1, 2)) == 2
    assert error_of().startswith(
        "error: Mine.factor() takes 2 positional arguments but 3 were given (my_own_code.py, line 2). Give it the "
    )


def test_a_call_of_our_own_function_with_wrong_arguments_is_not_the_users(error_of: Callable[[], str]) -> None:
    assert run_guarded(partial(blame.shown_path, "a", "b")) == 1  # type: ignore[call-arg]
    assert "shown_path() takes 1 positional argument" in error_of()


def test_the_users_code_may_not_end_the_process(own_module: Callable[[str], Any], error_of: Callable[[], str]) -> None:
    module = own_module("import sys\n\ndef command():\n    sys.exit(0)\n")
    assert run_guarded(module.command) == 2
    assert error_of() == "error: my_own_code.py, line 4, in command ends the process. Raise an exception instead."


def test_broken_syntax_is_told_with_its_line(own_module: Callable[[str], Any], tmp_path: Path) -> None:
    with pytest.raises(SyntaxError) as caught:
        own_module("def f(:\n    pass\n")
    assert blame.users_place(caught.value) == "my_own_code.py, line 1"


def test_an_installed_package_is_the_users_only_if_it_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    error = caught.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # without this file's frame
    assert blame.users_place(error) is None
    monkeypatch.setattr(blame, "TRUSTED_MODULES", {"json"})
    assert str(blame.users_place(error)).endswith("in JSONDecoder.raw_decode")


def test_lightnings_misconfiguration_is_the_users(error_of: Callable[[], str]) -> None:
    error = MisconfigurationException("You have asked\nfor `devices=0`")
    assert str(blame.users_error(error)) == (
        "The Trainer rejects its settings: You have asked for `devices=0`. Change them under `trainer`."
    )


def test_a_callback_of_lightnings_that_fails_was_named_by_a_setting() -> None:
    class NoMetrics:
        callback_metrics: dict[str, float] = {}  # noqa: RUF012

    with pytest.raises(RuntimeError) as caught:
        EarlyStopping("nope")._validate_condition_metric(NoMetrics.callback_metrics)
    caught.value.__traceback__ = caught.value.__traceback__.tb_next  # type: ignore[union-attr]
    told = str(blame.users_error(caught.value))
    assert told.startswith(
        "A callback of lightning.pytorch.callbacks.early_stopping failed: RuntimeError: Early stopping"
    )


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise ValueError('at import')", "my_task_code.py, line 1, in <module>: ValueError: at import."),
        ("def f(:", "my_task_code.py, line 1: SyntaxError: "),
        (
            "import no_such_module_at_all",
            "my_task_code.py, line 1, in <module>: ModuleNotFoundError: No module named ",
        ),
        (
            "from grsap.data import ConversationDataModule\n\n\nclass Mine(ConversationDataModule):\n"
            "    def __init__(self):\n        self.size = 1 / 0\n\n    def rows(self, split):\n        return []\n",
            "my_task_code.py, line 6, in Mine.__init__: ZeroDivisionError: division by zero.",
        ),
        (
            "from grsap.data import ConversationDataModule\n\n\nclass Mine(ConversationDataModule):\n"
            "    def rows(self, split):\n        return open('no/such/file')\n",
            "my_task_code.py, line 6, in Mine.rows: FileNotFoundError: [Errno 2] No such file or directory",
        ),
    ],
)
def test_a_faulty_task_of_ones_own(
    text: str, told: str, run: Run, error_of: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.folder)
    monkeypatch.delitem(sys.modules, "my_task_code", raising=False)
    Path("my_task_code.py").write_text(text)
    importlib.invalidate_caches()
    run.config["data"]["task"] = {"class_path": "my_task_code.Mine"}
    assert run.fit() == 2
    message = error_of()
    assert told in message
    assert "internal error" not in message
