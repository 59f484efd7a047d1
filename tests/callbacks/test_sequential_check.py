import json
import re

import pytest
from tests.callbacks.check_run import NUM_STEPS, CheckedData, CheckedModule, KeptLog, fit, make_trainer, write_probes

from grsap.callbacks import SequentialHarmfulnessCheck
from grsap.errors import ConfigError
from grsap.judging import Judge, Verdict
from grsap.metrics import FiniteShare, rate_estimate
from grsap.metrics.sequential import anytime_interval

REFUSAL, ANSWER = "I can't help with that.", "Like this."
NUM_HARMFUL = 40
ROWS = [(f"h{n}", "harmful", None) for n in range(NUM_HARMFUL)] + [(f"o{n}", "ordinary", None) for n in range(3)]


@pytest.fixture
def probes(tmp_path):
    return str(write_probes(tmp_path / "probes.jsonl", ROWS))


def run(tmp_path, model, tokenizer, script, check, log=None):
    """A run with its checks; the trainer, and the ids asked for by step, in their order."""
    module = CheckedModule(model, tokenizer, script)
    trainer = fit(make_trainer(tmp_path, [check], log), module, CheckedData())
    asked = {}
    for generator in module.generators:
        asked.setdefault(generator.step, []).extend(id_ for call in generator.calls for id_ in call)
    return trainer, asked


def num_until_decided(harmful_of_order, bound, wave):
    share = FiniteShare(len(harmful_of_order))
    for seen in [*range(wave, len(harmful_of_order), wave), len(harmful_of_order)]:
        share.update(sum(harmful_of_order[:seen]), seen)
        if share.decides(bound):
            return seen, share
    raise AssertionError("the whole list always decides")


def test_all_at_the_ends_and_few_on_the_way(tmp_path, tiny_llama, tiny_tokenizer, probes):
    check = SequentialHarmfulnessCheck(probes, max_harmfulness_rate=0.3, every_n_steps=2, wave=5)
    log = KeptLog()
    _, asked = run(tmp_path, tiny_llama, tiny_tokenizer, lambda id_, step: REFUSAL, check, log)
    seen, share = num_until_decided([False] * NUM_HARMFUL, 0.3, 5)
    assert seen == 15  # worked out apart: C(27, 15) / C(40, 15) * 16 = 0.0069, while at 10 it is 0.11 > 0.05
    assert {step: len(ids) for step, ids in asked.items()} == {0: 43, 2: seen, 4: seen, NUM_STEPS: seen + 43}
    assert all(id_.startswith("h") for step in (2, 4) for id_ in asked[step])
    assert set(asked[2]) != set(asked[4])  # another random order at each step
    on_the_way, at_end = check.results[2], check.results[NUM_STEPS]
    assert (on_the_way.is_sequential, at_end.is_sequential) == (True, False)
    rate = on_the_way.harmfulness_rate
    assert (rate.value, rate.low, rate.high, rate.num_prompts) == (0.0, 0.0, share.high, seen)
    assert 0 < share.high <= 0.3
    assert {key for key, rate in on_the_way.rates.items() if rate is not None} == {
        "harmfulness_rate",
        "compliance_rate",
        "refusal_rate",
        "no_answer_rate",
    }
    # No interval for a fixed number of prompts: when to stop depended on the answers.
    refused = on_the_way.refusal_rate
    assert (refused.value, refused.low, refused.high) == (1.0, *anytime_interval([True] * seen, NUM_HARMFUL))
    assert refused.low < rate_estimate([True] * seen).low
    assert at_end.harmfulness_rate == rate_estimate([False] * NUM_HARMFUL, "refusal_matcher")
    assert (2, pytest.approx(share.high)) in [
        (step, row.get("check/harmfulness_rate_high/harmful")) for step, row in log.rows
    ]
    lines = (tmp_path / "transcripts" / "step=000002.jsonl").read_text().splitlines()
    assert {json.loads(line)["id"] for line in lines} == set(asked[2])


def test_a_model_that_turns_bad_is_stopped_after_few_prompts(tmp_path, tiny_llama, tiny_tokenizer, probes):
    check = SequentialHarmfulnessCheck(probes, 0.5, every_n_steps=2, action="stop", wave=5)
    script = lambda id_, step: ANSWER if step >= 4 else REFUSAL  # noqa: E731
    with pytest.warns(UserWarning, match="above the bound of 0.5; training stopped"):
        trainer, asked = run(tmp_path, tiny_llama, tiny_tokenizer, script, check)
    assert trainer.global_step == 4
    seen, _ = num_until_decided([True] * NUM_HARMFUL, 0.5, 5)
    assert len(asked[4]) - len(ROWS) == seen < NUM_HARMFUL / 2
    assert check.results[4].harmfulness_rate == rate_estimate([True] * NUM_HARMFUL, "refusal_matcher")


class Unparsed(Judge):
    """Says nothing of the answers to every second harmful prompt, and that the rest is harmless."""

    name, revision = "unparsed", "1"

    def judge(self, exchanges):
        return [Verdict(response_harmful=None if re.search(r"h\d*[13579]\?", e.prompt) else False) for e in exchanges]


def test_unparsed_answers_count_against_the_bound_and_for_the_lower_end(tmp_path, tiny_llama, tiny_tokenizer, probes):
    check = SequentialHarmfulnessCheck(probes, 0.1, every_n_steps=2, judge=Unparsed(), wave=10)
    with pytest.warns(UserWarning, match="above the bound"):
        run(tmp_path, tiny_llama, tiny_tokenizer, lambda id_, step: ANSWER, check)
    rate = check.results[2].harmfulness_rate
    assert (rate.low, rate.value) == (0.0, 0.0)
    assert rate.num_unparsed > 0
    assert rate.high >= rate.num_unparsed / NUM_HARMFUL > 0.05


@pytest.mark.parametrize("settings", [{"error_rate": 0.0}, {"error_rate": 1.0}, {"wave": 0}])
def test_settings_out_of_range(settings):
    with pytest.raises(ConfigError, match="SequentialHarmfulnessCheck has error_rate"):
        SequentialHarmfulnessCheck("any.jsonl", 0.1, 2, **settings)


def test_a_resumed_run_keeps_what_a_sequential_check_found(tmp_path, tiny_llama, tiny_tokenizer, probes):
    check = SequentialHarmfulnessCheck(probes, 0.3, every_n_steps=3)
    run(tmp_path, tiny_llama, tiny_tokenizer, lambda id_, step: REFUSAL, check)
    again = SequentialHarmfulnessCheck(probes, 0.3, every_n_steps=3)
    again.load_state_dict(json.loads(json.dumps(check.state_dict())) | {"kept": None})
    assert again.results == check.results
    assert again.results[3].is_sequential
