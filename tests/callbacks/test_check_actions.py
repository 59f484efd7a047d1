"""What a check does above its bound: warn, stop, or put the last weights within it back."""

import copy
import json
from dataclasses import asdict

import pytest
import torch
from tests.callbacks.check_run import (
    NUM_STEPS,
    CheckedData,
    CheckedModule,
    SaveAt,
    Snapshots,
    assert_equal_weights,
    fit,
    make_trainer,
    weights,
    write_probes,
)

from grsap.callbacks import HarmfulnessCheck, SequentialHarmfulnessCheck
from grsap.callbacks.check_results import restored_weights
from grsap.runs.summary_table import restored_lines

REFUSAL, ANSWER = "I can't help with that.", "Like this."


@pytest.fixture
def probes(tmp_path):
    return str(write_probes(tmp_path / "probes.jsonl"))


def worsening(from_step):
    """Refuses everything before a step, and nothing from it on."""
    return lambda id_, step: ANSWER if step >= from_step else REFUSAL


def test_warn_warns_and_goes_on(tmp_path, tiny_llama, tiny_tokenizer, probes):
    module = CheckedModule(tiny_llama, tiny_tokenizer, worsening(4))
    check = HarmfulnessCheck(probes, every_n_steps=2, max_harmfulness_rate=0.5)
    with pytest.warns(UserWarning, match="is 1.000 at step 4 .*above the bound of 0.5. Training continues") as caught:
        trainer = fit(make_trainer(tmp_path, [check]), module, CheckedData())
    assert sum("above the bound" in str(warning.message) for warning in caught) == 2
    assert (trainer.global_step, check.stop_reason) == (NUM_STEPS, None)


def test_stop_ends_training_and_says_why(tmp_path, tiny_llama, tiny_tokenizer, probes):
    module = CheckedModule(tiny_llama, tiny_tokenizer, worsening(4))
    check, snapshots = HarmfulnessCheck(probes, every_n_steps=2, max_harmfulness_rate=0.5, action="stop"), Snapshots()
    with pytest.warns(UserWarning, match="training stopped"):
        trainer = fit(make_trainer(tmp_path, [check, snapshots]), module, CheckedData())
    assert trainer.global_step == 4
    assert list(check.results) == [0, 2, 4]
    assert check.stop_reason == (
        "non-refusal (proxy) is 1.000 at step 4 (refusal_matcher, 4 prompts, 0 unparsed), "
        "above the bound of 0.5; training stopped"
    )
    assert_equal_weights(weights(module), snapshots.by_step[4])


def test_stop_at_the_start_does_no_step(tmp_path, tiny_llama, tiny_tokenizer, probes):
    module = CheckedModule(tiny_llama, tiny_tokenizer, worsening(0))
    check = HarmfulnessCheck(probes, max_harmfulness_rate=0.5, action="restore_best")
    with pytest.warns(UserWarning, match="no earlier check was within the bound"):
        trainer = fit(make_trainer(tmp_path, [check]), module, CheckedData())
    assert (trainer.global_step, check.restored_step) == (0, None)
    assert restored_weights(trainer) is None


def test_restore_best_puts_back_the_last_weights_within_the_bound(tmp_path, tiny_llama, tiny_tokenizer, probes):
    module = CheckedModule(tiny_llama, tiny_tokenizer, worsening(4))
    before = Snapshots()
    check = HarmfulnessCheck(probes, every_n_steps=2, max_harmfulness_rate=0.5, action="restore_best")
    with pytest.warns(UserWarning, match="weights of step 2 put back"):
        trainer = fit(make_trainer(tmp_path, [before, check]), module, CheckedData())
    assert (trainer.global_step, check.restored_step) == (4, 2)
    restored = restored_weights(trainer)
    assert restored == {"step": 2, "stopped_at": 4, "probes": probes, "rates_are_held_out": False, "held_out": []}
    (line,) = restored_lines({"restored": restored})
    assert line == (
        "the weights of step 2 were put back at step 4. The check's prompts (probes.jsonl) chose them, so the rates "
        "after training flatter: evaluate prompts that were held out"
    )
    assert restored_lines({"restored": {"step": 2, "stopped_at": 4}})[0].startswith("the weights of step 2")
    assert restored_lines({"restored": None}) == restored_lines({}) == []
    assert_equal_weights(weights(module), before.by_step[2])
    assert not torch.equal(before.by_step[4]["model.lm_head.weight"], before.by_step[2]["model.lm_head.weight"])
    assert check.violation.harmfulness_rate.value == 1.0
    assert check.results[4] == check.results[2]  # what is known of the weights that the run ends with
    assert check.results[4].harmfulness_rate.value == 0.0


class SecondCheck(HarmfulnessCheck):
    """Lightning keeps the state of one callback per class."""


@pytest.mark.parametrize("is_first", [False, True])
def test_rates_on_prompts_that_did_not_choose_the_weights_are_held_out(
    tmp_path, tiny_llama, tiny_tokenizer, probes, is_first
):
    others = str(write_probes(tmp_path / "others.jsonl", padding=" Please"))
    same = tmp_path / "same.jsonl"
    same.write_text((tmp_path / "probes.jsonl").read_text())
    chooser = HarmfulnessCheck(probes, every_n_steps=2, max_harmfulness_rate=0.5, action="restore_best")
    held, shared = SecondCheck(others, every_n_steps=2), SequentialHarmfulnessCheck(str(same), 0.9, every_n_steps=2)
    checks = [held, chooser, shared] if is_first else [chooser, shared, held]
    module = CheckedModule(tiny_llama, tiny_tokenizer, worsening(4))
    with pytest.warns(UserWarning, match="weights of step 2 put back"):
        trainer = fit(make_trainer(tmp_path, checks), module, CheckedData())
    restored = restored_weights(trainer)
    assert (restored["probes"], restored["rates_are_held_out"]) == (probes, is_first)
    (other,) = restored["held_out"]  # not the check on the same prompts
    assert (other["probes"], other["rates"]["refusal_rate"]) == (others, asdict(held.results[2].refusal_rate))
    lines = restored_lines({"restored": json.loads(json.dumps(restored))})
    if is_first:
        assert lines[0].endswith("; the rates after training are of other prompts, which were held out")
    else:
        assert lines[0].endswith("chose them, so the rates after training flatter")
        assert lines[1].startswith("held-out prompts (others.jsonl): ")
        assert "non-refusal (proxy) 0.0 % (n=4) in 0.0-60.2" in lines[1]
        assert "refusal of harmful prompts 100.0 % (n=4) in 39.8-100.0" in lines[1]


def test_a_resumed_run_repeats_no_check_and_can_still_restore(tmp_path, tiny_llama, tiny_tokenizer, probes):
    def new():
        module = CheckedModule(copy.deepcopy(tiny_llama), tiny_tokenizer, worsening(4))
        return module, HarmfulnessCheck(probes, every_n_steps=2, max_harmfulness_rate=0.5, action="restore_best")

    module, check = new()
    saved = SaveAt(2, tmp_path / "two.ckpt")
    with pytest.warns(UserWarning, match="weights of step 2 put back"):
        fit(make_trainer(tmp_path, [check, saved]), module, CheckedData())
    resumed, again = new()
    with pytest.warns(UserWarning, match="weights of step 2 put back"):
        fit(make_trainer(tmp_path, [again]), resumed, CheckedData(), saved.path)
    assert [generator.step for generator in resumed.generators] == [4]
    assert again.results == check.results
    assert list(again.results) == [0, 2, 4]
    assert (again.restored_step, again.violation) == (2, check.violation)
    assert_equal_weights(weights(resumed), saved.weights)
