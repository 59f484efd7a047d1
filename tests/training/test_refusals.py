"""What the Trainer may not do to weights. Refused settings of the model are in test_module.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from lightning.pytorch.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
    Strategy,
)

from grsap.errors import ConfigError
from grsap.training.refusals import check_trainer


def trainer(strategy: type[Strategy], precision: str = "32-true") -> SimpleNamespace:
    return SimpleNamespace(precision=precision, strategy=strategy.__new__(strategy))


@pytest.mark.parametrize("strategy", [SingleDeviceStrategy, DDPStrategy])
def test_each_device_holds_the_whole_model(strategy: type[Strategy]) -> None:
    check_trainer(trainer(strategy))  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", [FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy])
def test_shards_are_refused(strategy: type[Strategy]) -> None:
    with pytest.raises(ConfigError, match=f"trainer.strategy is {strategy.__name__}, which shards weights"):
        check_trainer(trainer(strategy))  # type: ignore[arg-type]
