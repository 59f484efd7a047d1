"""Numbers that are none, numbers beyond 64 bits and text that no file can hold, in any setting of any verb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from jsonargparse import Namespace
from tests.commands.conftest import Run

from grsap.cli import VERBS, main
from grsap.commands.scalars import check_scalars
from grsap.errors import ConfigError

FINITE = "Give a finite number, or null where a setting can be off."


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"a": {"b": float("nan")}}, f"a.b is nan. {FINITE}"),
        ({"a": [1, {"b": float("inf")}]}, f"a[1].b is inf. {FINITE}"),
        (Namespace(a=Namespace(b=float("-inf"))), f"a.b is -inf. {FINITE}"),
        ({"a": 10**30}, "a is a number of 100 bits. Give at most 64 bits."),
        ({"a": "x\0y"}, "a contains a NUL character. Remove it."),
        ({"a": ["\udcff"]}, "a[0] is not valid UTF-8. Write it in UTF-8."),
        ({"a": {"\0": 1}}, "a key of a contains a NUL character. Remove it."),
        ({"a": {float("nan"): 1}}, f"a key of a is nan. {FINITE}"),
    ],
)
def test_refused(settings: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_scalars(settings)
    assert str(caught.value) == told


def test_ordinary_values_pass() -> None:
    check_scalars({"a": [1, -2.5, True, None, "text\nπ 𝛑"], "b": {1: 2**63 - 1, "c": ()}})


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"report", "doctor"}))
@pytest.mark.parametrize("value", [".nan", ".inf", "1e400", "-1e999", str(10**30), '"a\\0b"'])
def test_refused_in_a_file_of_each_verb(verb: str, value: str, run: Run, error_of: Callable[[], str]) -> None:
    folder = "run_dir" if verb in ("fit", "validate", "test", "predict") else "output_dir"
    run.path.write_text(f"{folder}: {value}\n")
    assert main([verb, "--config", str(run.path)]) == 2
    told = error_of()
    assert told.startswith(
        (f"error: --config {run.path}: {folder} ", "error: the path 'a\\x00b' contains a NUL character")
    )


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("model.optimizer.init_args.lr", ".nan", f"model.optimizer.init_args.lr is nan. {FINITE}"),
        ("model.optimizer.init_args.weight_decay", "1e999", f"model.optimizer.init_args.weight_decay is inf. {FINITE}"),
        ("model.lora.lora_dropout", ".nan", f"model.lora.init_args.lora_dropout is nan. {FINITE}"),
        ("data.sampler.init_args.replay_ratio", "-.inf", f"data.sampler.init_args.replay_ratio is -inf. {FINITE}"),
        ("seed_everything", str(2**70), "seed_everything is a number of 71 bits. Give at most 64 bits."),
        ("run_dir", "runs/\udcff", "run_dir is not valid UTF-8. Write it in UTF-8."),
        ("model.base.path", "x\0", "model.base.path contains a NUL character. Remove it."),
    ],
)
def test_refused_on_the_command_line(key: str, value: str, told: str, run: Run, error_of: Callable[[], str]) -> None:
    assert run.fit(f"--{key}={value}") == 2
    assert error_of() == f"error: {told}"
    assert not run.run_dir.exists()
