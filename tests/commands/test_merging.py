"""A class in a setting starts from its own defaults, whatever class the setting had before, in all verbs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser, Namespace

from grsap.cli import VERBS
from grsap.commands import stages
from grsap.commands.config_keys import option_values
from grsap.commands.parsing import check_order
from grsap.commands.settings import RunSettings
from grsap.commands.stage import stage_parser
from grsap.commands.trust import restrict_imports
from grsap.errors import ConfigError

RUN_VERBS = ("fit", "validate", "test", "predict")
STAGE_VERBS = ("synthesize", "import", "curate", "evaluate", "similarity", "study")


def test_all_verbs_with_settings_are_tried() -> None:
    assert {*RUN_VERBS, *STAGE_VERBS} == set(VERBS) - {"report", "doctor"}


class _Parser(Exception):
    """Carries the parser of a verb out of LightningCLI before anything is parsed."""


class _Settings(RunSettings):
    def parse_arguments(self, parser: Any, args: Any) -> None:
        raise _Parser(parser)


@cache
def parser_of(verb: str) -> ArgumentParser:
    if verb not in RUN_VERBS:
        parser = stage_parser(verb, stages.load(verb).settings)
        parser.set_defaults(dict(stages.STAGES[verb].defaults))
        return parser
    with pytest.raises(_Parser) as caught:
        _Settings(verb, [])
    found: ArgumentParser = caught.value.args[0]
    return found


def classes_in(hint: Any) -> Iterator[type]:
    """The classes of which a type takes subclasses by `class_path`."""
    if inspect.isclass(hint) and hint not in (str, bool, int, float, type(None)) and not get_args(hint):
        yield hint
    elif hint is not Ellipsis:
        for part in get_args(hint):
            yield from classes_in(part)


def stand_ins(base: type) -> tuple[str, str]:
    """Paths of two subclasses that share the names of their arguments, and not the defaults."""
    names = []
    for number, defaults in (("one", (1, 2)), ("two", (10, 20))):

        def __init__(self: Any, first: int = defaults[0], second: int = defaults[1], **more: Any) -> None: ...

        parameters = list(inspect.signature(__init__).parameters.values())
        if base is torch.optim.Optimizer:
            parameters.insert(1, inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD))
        __init__.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        __init__.__annotations__ = {"first": int, "second": int, "more": Any}
        made = type(f"{base.__name__}_{number}", (base,), {"__init__": __init__, "__module__": __name__})
        made.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
        setattr(sys.modules[__name__], made.__name__, made)
        names.append(f"{__name__}.{made.__name__}")
    return names[0], names[1]


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    restrict_imports((__name__,))


def slots(*verbs: str) -> list[Any]:
    """Each setting of these verbs that takes a class, with the class and whether it takes a list."""
    found = []
    for verb in verbs:
        for action in parser_of(verb)._actions:
            hint = getattr(action, "_typehint", None)
            roots = ("grsap", "lightning", "torch")
            bases = [base for base in classes_in(hint) if base.__module__.split(".")[0] in roots]
            bases = [base for base in bases if not is_dataclass(base)]
            if bases and not action.dest.endswith(".help"):
                in_list = "list[" in str(action._typehint) or "Iterable[l" in str(action._typehint)
                found.append(pytest.param(verb, action.dest, bases[-1], in_list, id=f"{verb}-{action.dest}"))
    return found


SLOTS = slots("fit", *STAGE_VERBS)


def parse(verb: str, key: str, *values: Any, words: Sequence[str] = ()) -> Any:
    """The setting after several files and the words of a command line."""
    args: list[str] = []
    for number, value in enumerate(values):
        config: Any = value
        for part in reversed(key.split(".")):
            config = {part: config}
        Path(f"{number}.yaml").write_text(yaml.safe_dump(config))
        args += ["--config", f"{number}.yaml"]
    if verb in RUN_VERBS:
        args.append("--model.base.path=some/model")
    return plain(parser_of(verb).parse_args([*args, *words], _skip_validation=True)[key])


def plain(value: Any) -> Any:
    if isinstance(value, Namespace):
        return {name: plain(each) for name, each in vars(value).items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def spec(path: str, **arguments: int) -> dict[str, Any]:
    return {"class_path": path, "init_args": arguments}


def test_the_settings_that_take_a_class() -> None:
    assert {key for _, key, *_ in (each.values for each in SLOTS)} == {
        *(f"trainer.{name}" for name in ("accelerator", "strategy", "logger", "callbacks", "profiler", "plugins")),
        *(f"model.{name}" for name in ("objectives", "balancer", "optimizer", "schedule")),
        *("data.task", "data.replay", "data.sampler", "generator", "elicitation", "survival", "filters", "embedder"),
        *("judge", "judges", "subjects", "benchmarks", "model"),
    }
    for verb in RUN_VERBS[1:]:
        assert [each.values[1:] for each in slots(verb)] == [each.values[1:] for each in slots("fit")]


@pytest.mark.parametrize(("verb", "key", "base", "in_list"), SLOTS)
def test_another_class_starts_from_its_own_defaults(verb: str, key: str, base: type, in_list: bool) -> None:
    one, two = stand_ins(base)

    def given(*specs: Any, words: Sequence[str] = ()) -> Any:
        found = parse(verb, key, *([each] if in_list else each for each in specs), words=words)
        return found[-1] if in_list else found

    assert given(spec(two)) == spec(two, first=10, second=20)  # after the setting's default, if it has one
    assert given(spec(one, first=5, second=6), spec(two, first=7)) == spec(two, first=7, second=20)
    assert given({**spec(one, first=5), "dict_kwargs": {"third": 9}}, spec(two)) == spec(two, first=10, second=20)
    assert given(spec(one, second=6), spec(two), spec(one)) == spec(one, first=1, second=2)
    same = given(spec(one, second=6), spec(one, first=5))
    assert same == spec(one, first=5, second=2 if in_list else 6)  # a list is replaced as a whole
    word = f"--{key}=" + ("[{}]" if in_list else "{}").format(f'{{"class_path": "{two}"}}')
    assert given(spec(one, second=6), words=[word]) == spec(two, first=10, second=20)
    assert given(spec(one, second=6), words=[f"--{key}.first=8"]) == spec(one, first=8, second=6)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adafactor", "Muon", "NAdam"])
def test_an_optimizer_has_its_own_weight_decay(name: str) -> None:
    own = inspect.signature(getattr(torch.optim, name)).parameters["weight_decay"].default
    found = parse("fit", "model.optimizer", {"class_path": f"torch.optim.{name}", "init_args": {"lr": 0.5}})
    assert (found["init_args"]["lr"], found["init_args"]["weight_decay"]) == (0.5, own)
    kept = parse("fit", "model.optimizer", {"init_args": {"lr": 0.5}})
    assert (kept["class_path"], kept["init_args"]["lr"]) == ("torch.optim.AdamW", 0.5)


def test_two_paths_to_a_class_are_one_class() -> None:
    paths = ("CosineWithFloor", "grsap.training.schedules.CosineWithFloor")
    specs = ({"class_path": paths[0], "init_args": {"floor": 0.3}}, {"class_path": paths[1]})
    assert parse("fit", "model.schedule", *specs)["init_args"] == {"floor": 0.3, "warmup_ratio": 0.1}


@pytest.mark.parametrize(
    "words", [["--a.b.lr", "1", "--a.b", "C"], ["--a.b.lr=1", "--a.b=C"], ["--a.b.c=1", "--a.b.class_path=C"]]
)
def test_an_argument_before_its_class_is_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"--a\.b(\.class_path)? follows --a\.b\.\w+, which it would reset"):
        check_order(words)
    check_order([*words[len(words) // 2 :], *words[: len(words) // 2]])


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ([], []),
        (["--config"], []),  # the parser reports the missing value
        (["--config", "a.yaml", "-c=b=c.yaml", "--other", "d"], [("--config", "a.yaml"), ("-c", "b=c.yaml")]),
    ],
)
def test_values_of_options_are_read_in_either_spelling(words: list[str], values: list[tuple[str, str]]) -> None:
    assert list(option_values(words, "--config", "-c")) == values
