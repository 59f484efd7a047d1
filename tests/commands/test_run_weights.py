"""Which weights `validate`, `test` and `predict` use, and that they never fall back to others."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.commands.conftest import Run
from tests.commands.test_run_life import content

from grsap.cli import main
from grsap.generation.base import SamplingSettings
from grsap.runs.folder import RunFolder


@pytest.fixture
def trained(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run of two steps whose learning rate is great enough to change its answers."""
    monkeypatch.setattr("grsap.commands.answers.SAMPLING", SamplingSettings(max_new_tokens=4))
    init_args = run.config["data"]["task"]["init_args"]
    init_args |= {"test_path": init_args["train_path"], "validation_path": init_args["train_path"]}
    run.config["model"]["optimizer"]["init_args"]["lr"] = 1.0
    run.config["trainer"]["callbacks"] = [{"class_path": "AdapterCheckpoint", "init_args": {"every_n_steps": 1}}]
    assert run.fit() == 0
    return run


def predict(run: Run, *words: str) -> int:
    return main(["predict", "--config", str(run.write()), *words])


def answers(run: Run) -> tuple[set[str], list[str]]:
    """The weights that are named, and the answers."""
    lines = [json.loads(line) for line in (run.run_dir / "predictions.jsonl").read_text().splitlines()]
    return {line["weights"] for line in lines}, [line["response"] for line in lines]


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def test_the_adapter_is_used_where_the_last_checkpoint_is_not_whole(trained: Run, error_of: Callable[[], str]) -> None:
    last = trained.run_dir / "checkpoints" / "step=000002"
    assert predict(trained) == 0
    assert f"Using {last}." in error_of()
    named, expected = answers(trained)
    assert named == {"step=000002"}

    damage(last / "trainer.ckpt")
    assert predict(trained) == 0
    told = error_of()
    adapter = trained.run_dir / "adapter"
    assert f"{last} is damaged (trainer.ckpt is truncated or changed): using {adapter}, which is intact." in told
    assert answers(trained) == ({"adapter"}, expected)
    kept = trained.run_dir / "set_aside" / "1" / "predictions.jsonl"
    assert f"The answers of an earlier call are in {kept}." in told
    assert [json.loads(line)["weights"] for line in kept.read_text().splitlines()] == 12 * ["step=000002"]

    assert predict(trained) == 0
    assert not (trained.run_dir / "set_aside" / "2").exists(), "the same answers again"

    assert predict(trained, "--base") == 0
    assert "Using the base model" in error_of()
    named, of_base = answers(trained)
    assert named == {"base"}
    assert of_base != expected

    shutil.rmtree(last)
    assert predict(trained) == 0
    assert f"{last} is damaged (it is missing): using {adapter}" in error_of()
    assert answers(trained) == ({"adapter"}, expected)


def test_a_full_disk_leaves_the_older_predictions(
    trained: Run, monkeypatch: pytest.MonkeyPatch, error_of: Callable[[], str]
) -> None:
    path = trained.run_dir / "predictions.jsonl"
    path.write_text("of an earlier call")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    error_of()
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert predict(trained) == 2
    assert f"{path} cannot be written: No space left on device" in error_of()
    assert sorted(name.name for name in trained.run_dir.rglob("predictions*")) == ["predictions.jsonl"]
    assert path.read_text() == "of an earlier call"


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_damaged_weights_are_never_replaced_by_others(
    trained: Run, verb: str, no_weights: None, error_of: Callable[[], str]
) -> None:
    damage(trained.run_dir / "checkpoints" / "step=000002" / "trainer.ckpt")
    damage(trained.run_dir / "adapter" / "adapter_model.safetensors")
    (trained.run_dir / "predictions.jsonl").write_text("of an earlier call")
    before = content(trained.run_dir)
    error_of()
    assert main([verb, "--config", str(trained.path)]) == 2
    told = error_of()
    assert "the final weights of the run are damaged" in told
    assert "step=000002 (trainer.ckpt is truncated or changed)" in told
    assert "adapter (adapter_model.safetensors is truncated or changed)" in told
    assert content(trained.run_dir) == before


def test_an_unfinished_run_is_used_with_its_newest_checkpoint_or_not_at_all(
    trained: Run, error_of: Callable[[], str]
) -> None:
    (trained.run_dir / "summary.json").unlink()
    assert predict(trained) == 0
    newest = trained.run_dir / "checkpoints" / "step=000002"
    assert f"Using {newest} of an unfinished run." in error_of()
    damage(newest / "trainer.ckpt")
    assert predict(trained) == 2
    assert f"the newest checkpoint {newest} is damaged" in error_of()
    shutil.rmtree(trained.run_dir / "checkpoints")
    assert predict(trained) == 2
    assert "has no checkpoint yet. Finish it with grsap fit --resume, or add --base" in error_of()


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_without_a_run_is_told(
    run: Run, verb: str, exists: bool, no_weights: None, error_of: Callable[[], str]
) -> None:
    init_args = run.config["data"]["task"]["init_args"]
    init_args |= {"test_path": init_args["train_path"], "validation_path": init_args["train_path"]}
    if exists:
        run.run_dir.mkdir()
    what = "holds no run of grsap fit" if exists else "does not exist"
    assert main([verb, "--config", str(run.write())]) == 2
    assert f"run_dir {run.run_dir} {what}. Give the folder of a run with --run_dir, or add --base" in error_of()
    assert run.run_dir.exists() == exists
    assert not RunFolder(run.run_dir).config.exists()


def test_base_is_a_flag_of_the_verbs_that_use_weights(run: Run, error_of: Callable[[], str]) -> None:
    assert run.fit("--base") == 2
    assert (
        error_of() == "error: --base is a flag of grsap validate and test and predict, not of grsap fit. Leave it out."
    )


def test_the_whole_model_of_full_fine_tuning_is_used(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grsap.commands.answers.SAMPLING", SamplingSettings(max_new_tokens=4))
    init_args = run.config["data"]["task"]["init_args"]
    init_args |= {"test_path": init_args["train_path"]}
    run.config["model"]["lora"] = None
    run.config["model"]["optimizer"]["init_args"]["lr"] = 0.05
    assert run.fit() == 0
    assert predict(run) == 0
    _, expected = answers(run)
    shutil.rmtree(run.run_dir / "checkpoints")
    assert predict(run) == 0
    assert answers(run) == ({"adapter"}, expected)
    assert predict(run, "--base") == 0
    assert answers(run)[1] != expected


@pytest.mark.parametrize("verb", ["predict", "fit"])
def test_nothing_is_loaded_that_lightning_finds_by_itself(
    trained: Run, verb: str, no_weights: None, error_of: Callable[[], str]
) -> None:
    """In a SLURM job it would load this file in place of the base, or of a start from step 0."""
    (trained.run_dir / "summary.json").unlink()
    shutil.rmtree(trained.run_dir / "checkpoints")
    (trained.run_dir / "hpc_ckpt_1.ckpt").write_bytes(b"of an older program")
    words = {"predict": ["--base"], "fit": ["--resume"]}[verb]
    error_of()
    assert main([verb, "--config", str(trained.path), *words]) == 2
    assert "hpc_ckpt_1.ckpt was not written by grsap, and Lightning would load it in a SLURM job" in error_of()
