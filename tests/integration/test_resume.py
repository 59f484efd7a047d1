"""A run that was killed and resumed ends where the uninterrupted run ends, to the byte."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from tests.integration.conftest import Workplace
from tests.integration.test_stops import contents

Make = Callable[[str], Workplace]


ADAPTER = "adapter/adapter_model.safetensors"


def test_killed_three_times_stopped_and_resumed_equals_uninterrupted(workplace: Make) -> None:
    whole = workplace("whole")
    assert whole.run() == 0, (whole.folder / "log.txt").read_text()

    killed = workplace("killed")
    # 48 rows at a share of a quarter: 6 steps an epoch. Steps 3 and 8 are in the middle of an epoch, 5 ends one.
    assert killed.run(SIGKILL_AFTER=3) == -9
    assert killed.run("--resume", SIGKILL_AFTER=5) == -9
    assert killed.run("--resume", SIGKILL_AFTER=8) == -9
    # SIGTERM comes with the tenth step: the next one is finished, saved and told by the exit code.
    assert killed.run("--resume", SIGTERM_AFTER=9) == 143
    assert (killed.run_dir / "checkpoints" / "step=000011").is_dir()
    assert killed.run("--resume") == 0, (killed.folder / "log.txt").read_text()

    assert min(whole.num_micro_batches()) > 1
    assert sorted(whole.rows()) == list(range(12))
    assert killed.rows() == whole.rows()
    assert (killed.run_dir / ADAPTER).read_bytes() == (whole.run_dir / ADAPTER).read_bytes()

    last = "checkpoints/step=000012/trainer.ckpt"
    states = [torch.load(place.run_dir / last, weights_only=True)["optimizer_states"][0] for place in (whole, killed)]
    assert len(states[0]["state"]) == 2 * 2 * 7
    for index, state in states[0]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, states[1]["state"][index][name])
    assert killed.summary()["num_steps"] == 12
    assert killed.summary()["num_tokens"] == whole.summary()["num_tokens"]

    other = workplace("other")
    config = copy.deepcopy(other.config)
    config["seed_everything"] = 6
    assert other.run(config=config) == 0
    assert (other.run_dir / ADAPTER).read_bytes() != (whole.run_dir / ADAPTER).read_bytes()

    before = {
        path: path.stat().st_mtime_ns for path in whole.run_dir.rglob("*") if path.is_file() and path.name != ".lock"
    }
    assert whole.run("--resume") == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_training_is_the_same_to_the_byte_with_and_without_checks(workplace: Make) -> None:
    """A 4-bit base, dropout, several micro-batches; answers are sampled, and each check breaks the bound."""
    places = []
    for name, settings in (("never", None), ("often", {"every_n_steps": 2, "max_harmfulness_rate": 0.0})):
        place = workplace(name)
        (check, *others) = place.config["trainer"]["callbacks"]
        check["init_args"] |= {"sampling": {"max_new_tokens": 4, "temperature": 1.0}, **(settings or {})}
        place.config["trainer"]["max_epochs"] = 1
        place.config["trainer"]["callbacks"] = [check, *others] if settings else others
        assert place.run() == 0, (place.folder / "log.txt").read_text()
        places.append(place)
    never, often = places
    assert often.rows() == never.rows()
    assert (often.run_dir / ADAPTER).read_bytes() == (never.run_dir / ADAPTER).read_bytes()
    steps = sorted(path.name for path in (often.run_dir / "transcripts").iterdir())
    assert steps == [f"step=00000{step}.jsonl" for step in (0, 2, 4, 6)]
    assert not (never.run_dir / "transcripts").exists()


def test_a_run_of_two_processes_that_is_extended_equals_the_longer_one(workplace: Make) -> None:
    places = {}
    for name in ("whole", "extended"):
        places[name] = workplace(name)
        config = places[name].config
        config["model"]["base"]["quantization"] = "none"
        config["model"]["schedule"] = {"class_path": "ConstantRate"}  # a cosine would depend on the length
        config["data"]["batching"]["max_tokens_per_micro_batch"] = 1024
        config["trainer"] |= {"devices": 2, "strategy": "ddp", "max_epochs": 3, "log_every_n_steps": 1}
        config["trainer"]["callbacks"].pop(0)
    whole, extended = places.values()
    assert whole.run(ranks=2) == 0, (whole.folder / "log.txt").read_text()[-3000:]
    extended.config["trainer"]["max_epochs"] = 2
    assert extended.run(ranks=2) == 0, (extended.folder / "log.txt").read_text()[-3000:]
    assert extended.summary()["num_steps"] == 12
    extended.config["trainer"]["max_epochs"] = 3
    assert extended.run("--resume", ranks=2) == 0, (extended.folder / "log.txt").read_text()[-3000:]
    assert extended.steps() == [(step, step // 6, step % 6) for step in range(18)]
    assert extended.rows() == whole.rows()
    assert contents(extended) == contents(whole)
    assert extended.summary()["num_tokens"] == whole.summary()["num_tokens"]
