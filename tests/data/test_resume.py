"""The loader inside a real Trainer: stops mid-epoch, goes on from the checkpoint, and sees each step exactly once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from tests.data.conftest import CountingTask

from grsap.data import MixtureDataModule, StratifiedReplaySampler
from grsap.data.step import StepBatch
from grsap.errors import ConfigError, DataError

Seen = list[tuple[int, tuple[str, ...], int]]


class Recorder(LightningModule):
    """Writes down (step, row ids, batch_idx) of what it is given; one weight, manual optimization as ours.

    Args:
        ask_length: ask Lightning for the run's length in `configure_optimizers`, which makes it build the training
            loader and its iterator before it restores its counters.
    """

    def __init__(self, ask_length: bool = False) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.ask_length = ask_length
        self.seen: Seen = []
        self.validated: list[tuple[str, ...]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.ask_length:
            assert self.trainer.estimated_stepping_batches > 0
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: StepBatch, batch_idx: int) -> None:
        assert batch.step == self.trainer.global_step
        self.seen.append((batch.step, batch.row_ids, batch_idx))
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward((self.weight * batch.num_tokens).sum())
        optimizer.step()

    def validation_step(self, batch: StepBatch, batch_idx: int) -> None:
        self.validated.append(batch.row_ids)

    test_step = predict_step = validation_step


class SaveAt(Callback):
    """Saves after a step, where our checkpoints are saved, and stops the run there as a kill would."""

    def __init__(self, step: int, path: Path, stop: bool = True) -> None:
        self.step, self.path, self.stop = step, path, stop

    def on_train_batch_end(self, trainer: Trainer, *args) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            if self.stop:
                raise InterruptedError


def trainer(tmp_path: Path, *callbacks: Callback, **settings) -> Trainer:
    return Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        use_distributed_sampler=False,
        **{"max_epochs": 3, **settings},
    )


def expected(mixture: MixtureDataModule, steps: range) -> Seen:
    return [(step, mixture.step_batch(step, 0, 1).row_ids, step % 6) for step in steps]


def interrupted(
    make_mixture, tmp_path: Path, stop: int, num_workers: int = 0, ask_length: bool = False, **settings
) -> Seen:
    """Run to step `stop`, then a new process's worth of objects from the checkpoint; what both saw."""
    path = tmp_path / "at.ckpt"
    first, second = Recorder(ask_length), Recorder(ask_length)
    with pytest.raises(InterruptedError):
        trainer(tmp_path, SaveAt(stop, path), **settings).fit(
            first, datamodule=make_mixture(num_workers=num_workers, setup=False)
        )
    trainer(tmp_path, **settings).fit(
        second, datamodule=make_mixture(num_workers=num_workers, setup=False), ckpt_path=path
    )
    assert len(first.seen) == stop
    return first.seen + second.seen


@pytest.mark.parametrize("stop", [1, 4, 6, 7, 11, 12, 17])
def test_resumed_run_sees_each_step_once(make_mixture, tmp_path: Path, stop: int):
    assert interrupted(make_mixture, tmp_path, stop) == expected(make_mixture(), range(18))


@pytest.mark.parametrize(
    ("stop", "num_workers", "ask_length"), [(4, 2, False), (9, 2, True), (6, 0, True), (8, 0, True)]
)
def test_also_with_workers_and_a_loader_built_too_early(
    make_mixture, tmp_path: Path, stop: int, num_workers: int, ask_length: bool
):
    assert interrupted(make_mixture, tmp_path, stop, num_workers, ask_length) == expected(make_mixture(), range(18))


@pytest.mark.parametrize("stop", [3, 6, 8])
def test_also_when_the_run_is_measured_in_steps(make_mixture, tmp_path: Path, stop: int):
    seen = interrupted(make_mixture, tmp_path, stop, max_epochs=-1, max_steps=14)
    assert seen == expected(make_mixture(), range(14))


def test_resumed_twice(make_mixture, tmp_path: Path):
    seen: Seen = []
    path = None
    for stop in (2, 5, 9):
        model, target = Recorder(), tmp_path / f"{stop}.ckpt"
        with pytest.raises(InterruptedError):
            trainer(tmp_path, SaveAt(stop, target)).fit(model, datamodule=make_mixture(setup=False), ckpt_path=path)
        seen += model.seen
        path = target
    model = Recorder()
    trainer(tmp_path).fit(model, datamodule=make_mixture(setup=False), ckpt_path=path)
    assert seen + model.seen == expected(make_mixture(), range(18))


@pytest.mark.filterwarnings("error:.*not resumable.*", "error:Total length of.*")
def test_lightning_takes_the_loader_for_resumable_and_no_validation_for_meant(make_mixture, tmp_path: Path):
    interrupted(make_mixture, tmp_path, 4)


def test_validation_during_fit_and_after_a_resume(make_mixture, tmp_path: Path):
    def mixture() -> MixtureDataModule:
        return make_mixture(task=CountingTask(num_validation=5), setup=False)

    path = tmp_path / "at.ckpt"
    first, second = Recorder(), Recorder()
    settings = {"num_sanity_val_steps": 0, "val_check_interval": 3, "check_val_every_n_epoch": None, "max_epochs": 2}
    with pytest.raises(InterruptedError):
        trainer(tmp_path, SaveAt(5, path), **settings).fit(first, datamodule=mixture())
    trainer(tmp_path, **settings).fit(second, datamodule=mixture(), ckpt_path=path)
    assert [step for step, *_ in first.seen + second.seen] == list(range(12))
    once = [("v0", "v1", "v2", "v3"), ("v4",)]
    assert (first.validated, second.validated) == (once, once * 3)


class ChangeAt(Callback):
    def __init__(self, step: int, ratio: float) -> None:
        self.step, self.ratio = step, ratio

    def on_train_batch_end(self, trainer: Trainer, *args) -> None:
        if trainer.global_step == self.step:
            trainer.datamodule.change_replay_ratio(self.ratio)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_changed_ratio_survives_the_resume(make_mixture, tmp_path: Path, num_workers: int):
    path = tmp_path / "at.ckpt"
    first, second, whole = Recorder(), Recorder(), Recorder()
    settings = {"num_workers": num_workers, "setup": False}
    with pytest.raises(InterruptedError):
        trainer(tmp_path, ChangeAt(2, 1.0), SaveAt(4, path)).fit(first, datamodule=make_mixture(**settings))
    trainer(tmp_path).fit(second, datamodule=make_mixture(**settings), ckpt_path=path)
    trainer(tmp_path, ChangeAt(2, 1.0)).fit(whole, datamodule=make_mixture(**settings))
    assert first.seen + second.seen == whole.seen
    from_step = 3 + 2 * num_workers
    shares = [all(row.startswith("r") for row in ids) for _, ids, _ in whole.seen]
    assert shares == [step >= from_step for step in range(18)]


def test_another_data_set_stops_the_resume(make_mixture, tmp_path: Path):
    path = tmp_path / "at.ckpt"
    trainer(tmp_path, SaveAt(2, path, stop=False), max_steps=2).fit(Recorder(), datamodule=make_mixture(setup=False))
    model = Recorder()
    with pytest.raises(DataError, match="the data set changed since the checkpoint"):
        trainer(tmp_path).fit(model, datamodule=make_mixture(task=CountingTask(24), setup=False), ckpt_path=path)
    assert model.seen == []


def test_an_epoch_cut_short_goes_on_in_the_next(make_mixture, tmp_path: Path):
    model = Recorder()
    trainer(tmp_path, limit_train_batches=4, max_epochs=2).fit(model, datamodule=make_mixture(setup=False))
    assert [(step, batch_idx) for step, _, batch_idx in model.seen] == [(n, n % 4) for n in range(8)]


def test_test_and_predict(make_mixture, tmp_path: Path):
    mixture = make_mixture(task=CountingTask(num_test=5), setup=False)
    for run in ("test", "predict"):
        model = Recorder()
        getattr(trainer(tmp_path), run)(model, datamodule=mixture)
        assert model.validated == [("s0", "s1", "s2", "s3"), ("s4",)]


def test_lightning_must_not_deal_the_steps_itself(make_mixture):
    mixture = make_mixture()

    class Connector:
        use_distributed_sampler = True

    class FakeTrainer:
        world_size, global_rank, global_step, overfit_batches = 2, 0, 0, 0
        _accelerator_connector = Connector()

    mixture.trainer = FakeTrainer()
    with pytest.raises(ConfigError, match=r"Set trainer.use_distributed_sampler to false"):
        mixture.train_dataloader()
    Connector.use_distributed_sampler = False
    FakeTrainer.overfit_batches = 3
    with pytest.raises(ConfigError, match=r"trainer.overfit_batches repeats steps"):
        mixture.train_dataloader()


def test_loader_workers_outlive_the_signals_that_stop_a_run(make_mixture):
    """Ctrl-C and a scheduler's SIGTERM reach them too; the run must get its batches until it has saved."""
    mixture = make_mixture(num_workers=1)
    steps = iter(mixture.train_dataloader())
    seen = [next(steps).row_ids]
    (worker,) = multiprocessing.active_children()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    seen += [batch.row_ids for batch in steps]
    assert seen == [ids for _, ids, _ in expected(mixture, range(mixture.steps_per_epoch))]


def test_another_order_of_the_same_rows_stops_the_resume(make_mixture, tmp_path: Path):
    """The same ratio, but other quotas: the rows that are still to come would be others."""

    def mixture(hard_share: float) -> MixtureDataModule:
        return make_mixture(sampler=StratifiedReplaySampler(0.25, hard_share=hard_share), setup=False)

    path = tmp_path / "at.ckpt"
    trainer(tmp_path, SaveAt(2, path, stop=False), max_steps=2).fit(Recorder(), datamodule=mixture(0.5))
    model = Recorder()
    with pytest.raises(ConfigError, match=r"data\.sampler gives another order of rows"):
        trainer(tmp_path).fit(model, datamodule=mixture(1.0), ckpt_path=path)
    assert model.seen == []
