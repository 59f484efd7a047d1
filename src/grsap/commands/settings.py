"""The settings of a run: LightningCLI with grsap's module, data, defaults and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback, OnExceptionCheckpoint, ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

import grsap.generation  # short class names work for classes that are imported
import grsap.judging
import grsap.objectives  # noqa: F401
from grsap.callbacks import (
    AdapterCheckpoint,
    GracefulStop,
    HarmfulnessCheck,
    MixtureMonitor,
    ProgressReport,
    Provenance,
    RunSummary,
    TaskScoreCheck,
)
from grsap.callbacks.lookup import Kind, find_callback
from grsap.commands.answers import AnsweringModule
from grsap.commands.finished import DEFAULT_RUN_DIR
from grsap.commands.parsing import parse
from grsap.commands.parsing_errors import settings_become_objects
from grsap.commands.places import building
from grsap.compat import with_trainer_settings
from grsap.data import MixtureDataModule
from grsap.errors import ConfigError
from grsap.files import user_path
from grsap.models import BaseModel
from grsap.training import SafetyFineTuning
from grsap.training.callback_checks import check_trainer_arguments
from grsap.training.metrics_log import MetricsLog

DEFAULT_CALLBACKS: tuple[type[Callback], ...] = (
    AdapterCheckpoint,
    Provenance,
    MixtureMonitor,
    RunSummary,
    GracefulStop,
    ProgressReport,
)
"""Callbacks of every run; a config that names one sets its arguments."""

TRAINER_DEFAULTS: dict[str, Any] = {
    "devices": 1,
    "use_distributed_sampler": False,  # the mixture deals rows to ranks itself
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
    "log_every_n_steps": 1,
}

LINKS: dict[str, str] = {
    "trainer.default_root_dir": "run_dir",
    "data.seed": "seed_everything",
    "model.seed": "seed_everything",
    # One link per field: linking whole dataclasses fails, because it removes the target's group from the parser.
    **{f"data.base.{field.name}": f"model.base.{field.name}" for field in fields(BaseModel)},
}
"""Linked settings: target -> source. Only the source can be given."""


def check_kinds(given: Sequence[Callback]) -> None:
    """Check that no two callbacks write the same files, and that none makes Lightning resume by itself.

    Raises:
        ConfigError: names the callbacks.
    """
    if any(isinstance(each, OnExceptionCheckpoint) for each in given):
        raise ConfigError(
            "trainer.callbacks has OnExceptionCheckpoint, from whose file Lightning would resume by itself",
            "Leave it out: AdapterCheckpoint saves, and --resume resumes",
        )
    kinds: tuple[type[Callback], ...] = (HarmfulnessCheck, TaskScoreCheck, *DEFAULT_CALLBACKS)
    for kind in kinds:
        names = [type(each).__name__ for each in given if isinstance(each, kind)]
        if len(names) > 1:
            raise ConfigError(
                f"trainer.callbacks has {' and '.join(names)}, which would write the same files",
                "Give one; its probes may have several subsets",
            )


class RunParser(LightningArgumentParser):
    """Reads settings from `--config` files only.

    Lightning's parser also reads a file wherever a value is its path: a data file could become settings.
    """

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:
        """See jsonargparse."""
        names: list[str] = super().add_class_arguments(*args, **{**kwargs, "sub_configs": False})
        return names


@with_trainer_settings
class RunSettings(LightningCLI):
    """Parses settings and builds module, data and trainer, without loading weights or calling the Trainer.

    Args:
        verb: named in usage texts.
        args: the words of the command line after the verb.
        description: printed above the options.

    Raises:
        ConfigError: a config file or key is wrong.
        argparse.ArgumentError: a value is wrong.
    """

    def __init__(self, verb: str, args: Sequence[str], description: str = "") -> None:
        self.verb = verb
        super().__init__(
            model_class=AnsweringModule if verb == "predict" else SafetyFineTuning,
            datamodule_class=MixtureDataModule,
            save_config_callback=None,  # the run folder keeps config.yaml
            trainer_defaults=TRAINER_DEFAULTS,
            parser_class=RunParser,
            seed_everything_default=0,
            parser_kwargs={
                "prog": f"grsap {verb}",
                "description": description,
                "exit_on_error": False,
                "allow_abbrev": False,  # a misspelt option is an error, not a shorter form of another
            },
            args=list(args),
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # nothing is built from a checkpoint's settings
        )

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the seed. Unlike Lightning's it must be a number, because an unseeded run cannot be resumed exactly."""
        parser.add_argument("--seed_everything", type=int, default=0, help="Seed of all random choices of the run.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add `run_dir` and the links."""
        parser.add_argument(
            "--run_dir",
            type=str,
            default=DEFAULT_RUN_DIR,
            help="Output folder of the run: checkpoints, adapter, metrics, summary.",
        )
        for target, source in LINKS.items():
            parser.link_arguments(source, target)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse after checking the config files' keys; errors name the nearest existing option."""
        words = [str(word) for word in args] if isinstance(args, list) else []
        self.config = parse(parser, words, LINKS)
        if not 0 <= self.config.seed_everything < 2**32:
            raise ConfigError(f"seed_everything is {self.config.seed_everything}", "Give a number from 0 to 2^32 - 1")

    def instantiate_classes(self) -> None:
        """Build module, data and trainer.

        Raises:
            ConfigError: a class rejects its settings.
        """
        with settings_become_objects(), building(self.config, LINKS) as self._settle:
            super().instantiate_classes()
        self.datamodule.base = self.model.base  # equal by LINKS; sharing it loads the tokenizer once

    def trainer_settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the Trainer's arguments: those of the config, with the default callbacks and loggers added.

        Raises:
            ConfigError: two callbacks write the same files, or an argument has no effect.
        """
        self._settle(self.config_init)
        config = {**config, "max_epochs": epochs_of(config)}
        if self.verb != "fit":  # these verbs write no run folder
            others = {"callbacks": [ProgressReport()], "logger": False, "enable_checkpointing": False}
            return {**config, **others}
        given = one_or_more(config.get("callbacks") or [])
        check_kinds(given)
        check_trainer_arguments(config)
        missing = [kind() for kind in DEFAULT_CALLBACKS if not any(isinstance(each, kind) for each in given)]
        if config.get("enable_progress_bar") is False or any(isinstance(each, ProgressBar) for each in given):
            missing = [each for each in missing if not isinstance(each, ProgressBar)]
        loggers = with_metrics_log(config.get("logger"), config["default_root_dir"])
        return {**config, "callbacks": [*given, *missing], "logger": loggers}

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return user_path(self.config.run_dir)

    def callback(self, kind: type[Kind]) -> Kind:
        """Return the callback of a class in `DEFAULT_CALLBACKS`."""
        found = find_callback(self.trainer, kind)
        assert found is not None
        return found

    def resolved_config(self) -> str:
        """Return all settings as YAML that `--config` can read."""
        return str(self.parser.dump(self.config, skip_none=False))


def epochs_of(config: Mapping[str, Any]) -> int:
    """Return `trainer.max_epochs`; by default 1, not 1000 as in Lightning, or -1 if `trainer.max_steps` is given."""

    given: int | None = config.get("max_epochs")
    if given is not None:
        return given
    return 1 if config.get("max_steps") in (None, -1) else -1


def one_or_more(given: Any) -> list[Any]:
    """Return a config value that is one object or a list as a list."""
    return list(given) if isinstance(given, (list, tuple)) else [given]


def with_metrics_log(given: Any, run_dir: str) -> Any:
    """Add `metrics.csv`, which summaries and reports read, to the loggers of a config; False disables all."""

    if given is False:
        return False
    loggers = [] if given is None or given is True else one_or_more(given)
    return loggers if any(isinstance(each, MetricsLog) for each in loggers) else [*loggers, MetricsLog(run_dir)]
