"""A verb made of a typed class: configs, overrides, its folder, its errors and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import yaml

from grsap.commands.boundary import run_guarded
from grsap.commands.stage import Stage, run_stage
from grsap.commands.stages import SETTINGS_OF_SPEED
from grsap.differences import setting_differences
from grsap.errors import DataError
from grsap.files import folder_lock


class Shape(ABC):
    """Something with an area."""

    @abstractmethod
    def area(self) -> float:
        """In square metres."""


class Square(Shape):
    """A square.

    Args:
        side: in metres.
    """

    def __init__(self, side: float = 2.0) -> None:
        self.side = side

    def area(self) -> float:
        return self.side**2


@dataclass(frozen=True)
class Paint:
    """Paint.

    Args:
        colour: of the paint.
        coats: how often it is put on.
    """

    colour: str = "blue"
    coats: int = 1


@dataclass(frozen=True)
class Painting:
    """Paints a shape.

    Args:
        shape: what is painted.
        paint: with what.
        speed: in square metres a second; does not change the result.
    """

    shape: Shape
    paint: Paint = field(default_factory=Paint)
    speed: int = 1

    def check(self) -> None:
        if self.paint.coats < 1:
            raise DataError("no coat", "Give one")

    def run(self, output_dir: Path) -> None:
        result = {"area": self.shape.area() * self.paint.coats, "colour": self.paint.colour}
        (output_dir / "result.json").write_text(json.dumps(result))


DEFAULTS = {"shape": {"class_path": f"{__name__}.Square"}}


def load() -> Stage:
    return Stage(Painting, Painting.run)


def paint(*words: str) -> int:
    trust = ("--trust-module", __name__)
    return run_guarded(partial(run_stage, "paint", [*words, *trust], load, DEFAULTS, may_change=("speed",)))


def result(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "result.json").read_text())
    return content


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def error_of(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: " ".join(capsys.readouterr().err.split())


def write(name: str, **settings: object) -> str:
    Path(name).write_text(yaml.safe_dump(settings))
    return name


def test_later_configs_win_key_by_key_and_options_win_over_both() -> None:
    one = write("one.yaml", output_dir="out", paint={"colour": "red", "coats": 2})
    two = write("two.yaml", paint={"coats": 3}, shape={"class_path": "Square", "init_args": {"side": 1.0}})
    assert paint("--config", one, "--config", two) == 0
    assert result(Path("out")) == {"area": 3.0, "colour": "red"}
    assert paint("--config", one, "--config", two, "--output-dir", "other", "--shape.init_args.side", "4") == 0
    assert result(Path("other")) == {"area": 48.0, "colour": "red"}


def test_the_config_in_the_folder_makes_the_same_folder() -> None:
    assert paint("--output_dir", "out", "--paint.colour", "green") == 0
    assert Path("out/config.yaml").read_text().startswith("# grsap paint\n")
    assert paint("--config", "out/config.yaml", "--output_dir", "again") == 0
    assert result(Path("again")) == result(Path("out")) == {"area": 4.0, "colour": "green"}


def test_print_config_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert paint("--output_dir", "out", "--print_config") == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["paint"] == {"colour": "blue", "coats": 1}
    assert shown["output_dir"] == "out"
    assert paint("--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Paints a shape." in text
    assert "how often it is put on." in text
    assert "--trust-module NAME" in text
    assert not Path("out").exists()


def test_a_class_of_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("my_shape_of_stage.py").write_text(
        f"from {__name__} import Shape\nclass Circle(Shape):\n    def area(self):\n        return 3.0\n"
    )
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    assert paint("--output_dir", "out", "--shape", "my_shape_of_stage.Circle") == 0
    assert result(Path("out"))["area"] == 3.0


def test_a_class_from_elsewhere_must_be_trusted(error_of: Callable[[], str]) -> None:
    assert paint("--output_dir", "out", "--shape", "http.client.HTTPConnection") == 2
    assert "add --trust-module http if you trust it" in error_of()


def test_wrong_key_option_value_and_missing_folder(error_of: Callable[[], str]) -> None:
    assert paint("--config", write("one.yaml", output_dir="out", paint={"color": "red"})) == 2
    remedy = "Did you mean paint.colour? All settings: grsap paint --print_config."
    assert error_of() == f"error: --config one.yaml: paint.color is not a setting. {remedy}"
    assert paint("--output_dir", "out", "--paint.coat", "2") == 2
    assert error_of().startswith("error: --paint.coat is not an option of grsap paint. Did you mean paint.coats?")
    assert paint("--output_dir", "out", "--paint.coats", "many") == 2
    assert "paint.coats" in error_of()
    assert paint("--paint.coats", "1") == 2
    assert "output_dir" in error_of()
    assert not Path("out").exists()


def test_a_failed_check_leaves_no_folder(error_of: Callable[[], str]) -> None:
    assert paint("--output_dir", "out", "--paint.coats", "0") == 2
    assert error_of() == "error: no coat. Give one."
    assert not Path("out").exists()


def test_other_settings_are_told_by_their_keys(error_of: Callable[[], str]) -> None:
    assert paint("--output_dir", "out") == 0
    before = result(Path("out"))
    assert paint("--output_dir", "out", "--paint.coats", "2", "--shape.init_args.side", "3") == 2
    assert error_of() == (
        "error: output_dir out holds results of other settings: shape.init_args.side: 2.0 -> 3.0; "
        "paint.coats: 1 -> 2. Restore these settings to continue, or choose another folder with --output_dir."
    )
    assert result(Path("out")) == before


def test_the_same_settings_go_on_and_so_do_those_that_may_change(error_of: Callable[[], str]) -> None:
    assert paint("--output_dir", "out") == 0
    assert error_of() == ""
    assert paint("--output_dir", "out", "--speed", "9") == 0
    assert error_of() == "Continuing the work in out."


def test_settings_of_speed_may_change_wherever_a_model_stands() -> None:
    def config(**server: object) -> dict[str, object]:
        model = {"class_path": "OpenAIGenerator", "init_args": {"model": "a", "server": {"timeout_s": 1, **server}}}
        return {"filters": [{"init_args": {"generator": model}}], "serverless": 1}

    old, new = config(), config(give_up_after_s=3600, timeout_s=2)
    assert setting_differences(old, new, SETTINGS_OF_SPEED) == []
    assert len(setting_differences(old, new)) == 2
    new["serverless"] = 2
    assert setting_differences(old, new, SETTINGS_OF_SPEED) == ["serverless: 1 -> 2"]


def test_a_folder_without_work_takes_other_settings() -> None:
    Path("out").mkdir()
    Path("out/config.yaml").write_text("# grsap paint\npaint: {coats: 7}\n")
    assert paint("--output_dir", "out") == 0
    assert result(Path("out"))["area"] == 4.0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "error: output_dir out holds other files, not results of grsap paint."),
        ("a: 1\n", "error: output_dir out holds other files, not results of grsap paint."),
        ("# grsap wash\na: 1\n", "error: output_dir out holds results of grsap wash, not results of grsap p"),
        ("a: [", "error: out/config.yaml cannot be read: while parsing a flow node."),
    ],
)  # fmt: skip
def test_a_folder_of_something_else(config: str | None, message: str, error_of: Callable[[], str]) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("keep")
    if config is not None:
        Path("out/config.yaml").write_text(config)
    assert paint("--output_dir", "out") == 2
    assert error_of().startswith(message)
    assert Path("out/mine.txt").read_text() == "keep"
    assert not Path("out/result.json").exists()


def test_a_file_is_no_folder(error_of: Callable[[], str]) -> None:
    Path("out").write_text("")
    assert paint("--output_dir", "out") == 2
    assert error_of() == "error: output_dir out is a file. Choose another with --output_dir."


def test_a_second_call_is_refused(error_of: Callable[[], str]) -> None:
    with folder_lock("out"):
        assert paint("--output_dir", "out") == 2
    told = error_of()
    assert told == (
        f"error: output_dir out is in use by process {os.getpid()}. "
        "Wait until it ends, or choose another folder with --output_dir."
    )
    assert not Path("out/result.json").exists()


SLEEPER = """
import sys, time
from pathlib import Path
from grsap.commands.boundary import run_guarded
from grsap.commands.stage import Stage, run_stage

class Sleeping:
    '''Sleeps.'''
    def check(self): pass
    def run(self, output_dir: Path) -> None:
        (output_dir / "asleep").touch()
        try:
            time.sleep(60)
        except Exception as error:  # as a library does around what can raise anything
            raise ValueError("a wrong input") from error

sys.exit(run_guarded(lambda: run_stage("sleep", sys.argv[1:], lambda: Stage(Sleeping, Sleeping.run))))
"""


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (signal.SIGTERM, 143, "Stopped by SIGTERM; finished work is kept, and the same command continues it."),
        (signal.SIGINT, 130, "stopped by Ctrl-C."),
    ],
)
def test_signals(number: signal.Signals, code: int, told: str, tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(textwrap.dedent(SLEEPER))
    command: Sequence[str] = [sys.executable, "sleeper.py", "--output_dir", "out"]
    # What runs in the background of a shell ignores SIGINT, and its children would too.
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "out" / "asleep").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert err.split() == told.split()
