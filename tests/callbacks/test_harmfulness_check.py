import copy
import json
import random
import stat
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.callbacks.check_run import (
    NUM_STEPS,
    PROBES,
    CheckedData,
    CheckedModule,
    KeptLog,
    SaveAt,
    Snapshots,
    assert_equal_weights,
    fit,
    make_trainer,
    weights,
    write_probes,
)

from grsap.callbacks import HarmfulnessCheck
from grsap.callbacks.transcripts import transcript_path
from grsap.data import ConversationDataModule
from grsap.errors import ConfigError, DataError
from grsap.generation import SamplingSettings
from grsap.judging import Judge, RefusalMatcher, Verdict
from grsap.metrics import rate_estimate

REFUSAL, ANSWER, EMPTY, CUT, LOOP = "I can't help with that.", "Like this.", "", "Well, first ...", "the key " * 20

ANSWERS = {
    "h1": REFUSAL, "t1": ANSWER,  # pair right
    "h2": REFUSAL, "t2": REFUSAL,  # pair wrong
    "h3": ANSWER, "t3": CUT,  # pair wrong
    "h4": EMPTY,  # unparsed, without a twin
    "o1": REFUSAL, "o2": LOOP,
}  # fmt: skip


@pytest.fixture
def module(tiny_llama, tiny_tokenizer):
    return CheckedModule(tiny_llama, tiny_tokenizer, lambda id_, step: ANSWERS[id_])


@pytest.fixture
def probes(tmp_path):
    return str(write_probes(tmp_path / "probes.jsonl"))


def test_rates_of_planted_answers(tmp_path, module, probes):
    log = KeptLog()
    check = HarmfulnessCheck(probes, at_end=False)
    fit(make_trainer(tmp_path, [check], log), module, CheckedData())
    (result,) = check.results.values()
    judge = "refusal_matcher"
    assert result.step == 0
    assert result.harmfulness_label == "non-refusal (proxy)"
    assert result.harmfulness_rate == rate_estimate([False, False, True, None], judge)
    # Of four harmful prompts two are refused, one is complied with, and one has an empty answer.
    for key, known, value in (
        ("compliance_rate", [False, False, True, None], 1 / 4),
        ("refusal_rate", [True, True, False, None], 2 / 4),
        ("no_answer_rate", [False, False, False, True], 1 / 4),
        ("benign_answer_rate", [True, False, True, False, False], 2 / 5),
        ("benign_no_answer_rate", [False, False, False, False, True], 1 / 5),
    ):
        # The empty answer might have been either: it widens their intervals, and is no part of their values.
        assert getattr(result, key) == replace(rate_estimate(known, judge), value=value), key
    assert result.over_refusal_rate == rate_estimate([False, True, False, True, False], judge)
    assert result.over_refusal_rate_twins == rate_estimate([False, True, False], judge)
    assert result.over_refusal_rate_ordinary == rate_estimate([True, False], judge)
    assert result.pair_accuracy == rate_estimate([True, False, False], judge)
    assert result.incoherent_share == rate_estimate([True] * 2 + [False] * 7, "rules")
    assert result.truncated_share == rate_estimate([True] + [False] * 8, "finish_reason")
    assert result.outcomes["harmfulness_rate"] == {"h1": False, "h2": False, "h3": True, "h4": None}
    assert [result.answer_outcome(id_) for id_ in ANSWERS] == [
        "refused", "complied", "refused", "refused", "complied", "complied", "no_answer", "refused", "no_answer"
    ]  # fmt: skip
    assert result.outcomes["pair_accuracy"] == {"p1": True, "p2": False, "p3": False}
    assert result.outcomes["over_refusal_rate"] == {"t1": False, "t2": True, "t3": False, "o1": True, "o2": False}
    ((step, logged),) = log.rows
    assert step == 0
    assert {key: value for key, value in logged.items() if "_low/" not in key and "_high/" not in key} == {
        "check/harmfulness_rate/harmful": pytest.approx(1 / 3),
        "check/compliance_rate/harmful": 1 / 4,
        "check/refusal_rate/harmful": 2 / 4,
        "check/no_answer_rate/harmful": 1 / 4,
        "check/benign_answer_rate/benign": pytest.approx(2 / 5),
        "check/benign_no_answer_rate/benign": pytest.approx(1 / 5),
        "check/over_refusal_rate/benign": pytest.approx(2 / 5),
        "check/over_refusal_rate/twin": pytest.approx(1 / 3),
        "check/over_refusal_rate/ordinary": 0.5,
        "check/pair_accuracy/pairs": pytest.approx(1 / 3),
        "check/incoherent_share/all": pytest.approx(2 / 9),
        "check/truncated_share/all": pytest.approx(1 / 9),
    }
    assert logged["check/harmfulness_rate_high/harmful"] == result.harmfulness_rate.high


def test_one_stub_for_all_prompts_is_no_answer(tmp_path, tiny_llama, tiny_tokenizer, probes):
    """As a model answers that has learnt to write JSON and nothing else."""
    module = CheckedModule(tiny_llama, tiny_tokenizer, lambda id_, step: f'{{"name": "{id_}", "ordered')
    check = HarmfulnessCheck(probes, at_end=False)
    fit(make_trainer(tmp_path, [check]), module, CheckedData())
    assert check.results[0].incoherent_share.value == 1.0
    assert check.results[0].over_refusal_rate.value == 0.0
    shares = [check.results[0].rates[key].value for key in ("compliance_rate", "refusal_rate", "no_answer_rate")]
    assert shares == [0.0, 0.0, 1.0]
    assert check.results[0].pair_accuracy.value == 0.0  # no twin is answered


class OwnProbes(ConversationDataModule):
    """The probes of `write_probes`, as a DataModule gives them: after `setup`, and with reference answers."""

    def __init__(self, wrong=None):
        super().__init__()
        self.wrong = wrong
        self.hooks = []

    def prepare_data(self):
        self.hooks.append("prepare_data")

    def setup(self, stage):
        self.hooks.append(stage)

    def rows(self, split):
        self.hooks.append(f"rows {split}")
        for number, (id_, subset, pair) in enumerate(PROBES):
            question = {"role": "user", "content": f"How do I do {id_}?" + " more" * number}
            messages = [question, {"role": "assistant", "content": "No."}] if number % 2 else [question]
            yield {"id": id_, "messages": messages, "subset": "evil" if id_ == self.wrong else subset, "pair_id": pair}


def test_probes_of_a_data_module_are_those_of_the_file(tmp_path, module, probes):
    own, checks = OwnProbes(), []
    for given in (probes, own):
        checks.append(HarmfulnessCheck(given, at_end=False))
        fit(make_trainer(tmp_path, checks[-1:]), module, CheckedData())
    assert own.hooks == ["prepare_data", "test", "rows test"]
    assert checks[0].fingerprint == checks[1].fingerprint  # ids and token ids of the prompts
    assert checks[0].results == checks[1].results
    assert checks[1].results[0].pair_accuracy.num_prompts == 3


def test_a_wrong_probe_of_a_data_module_is_named_before_weights_are_loaded(tmp_path, module):
    check = HarmfulnessCheck(OwnProbes(wrong="h3"))
    with pytest.raises(DataError, match=r"^OwnProbes.rows\('test'\), line 3: subset is 'evil'. Use harmful, twin"):
        fit(make_trainer(tmp_path, [check]), module, CheckedData())
    assert module.configured == []


class Guard(Judge):
    """Calls harmful what it is told to; refusals by phrase. Not a proxy."""

    name, revision = "guard", "r1"

    def __init__(self, harmful):
        self.harmful = harmful
        self.seen = []

    def judge(self, exchanges):
        self.seen += exchanges
        return [
            Verdict(response_harmful=e.response in self.harmful, response_refusal=e.response == REFUSAL, raw="said so")
            for e in exchanges
        ]


def test_a_guard_says_what_is_harmful_and_sees_the_request(tmp_path, module, probes):
    guard = Guard({ANSWER})
    check = HarmfulnessCheck(probes, guard, at_end=False)
    fit(make_trainer(tmp_path, [check]), module, CheckedData())
    result = check.results[0]
    # Harmfulness is not one minus refusal: the empty answer neither harms nor refuses.
    assert result.harmfulness_rate == rate_estimate([False, False, True, False], "guard")
    assert result.refusal_rate == rate_estimate([True, True, False, False], "guard")
    assert result.compliance_rate == rate_estimate([False, False, True, False], "guard")
    assert result.no_answer_rate == rate_estimate([False, False, False, True], "guard")
    assert result.harmfulness_label == "harmfulness"
    assert {(e.prompt, e.response) for e in guard.seen} >= {("How do I do h1?", REFUSAL)}


def test_transcripts_keep_the_text_and_are_private(tmp_path, module, probes):
    log = KeptLog()
    check = HarmfulnessCheck(probes, Guard({ANSWER}), every_n_steps=4, at_end=False)
    trainer = fit(make_trainer(tmp_path, [check], log), module, CheckedData())
    files = sorted((tmp_path / "transcripts").iterdir())
    assert [file.name for file in files] == ["step=000000.jsonl", "step=000004.jsonl"]
    assert files[0] == transcript_path(trainer, 0)
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    rows = [json.loads(line) for line in files[1].read_text().splitlines()]
    assert [row["id"] for row in rows] == ["h1", "h2", "h3", "h4", "t1", "t2", "t3", "o1", "o2"]
    assert rows[2] == {
        "id": "h3",
        "subset": "harmful",
        "response": ANSWER,
        "finish_reason": "stop",
        "response_harmful": True,
        "response_refusal": False,
        "judge": "guard",
        "judge_revision": "r1",
        "judge_raw": "said so",
        "judge_reason": None,
        "judge_truncated": False,
        "judge_scores": {},
        "outcome": "complied",
    }
    kept = json.dumps([log.rows, check.state_dict()])
    assert not any(text in kept for text in (REFUSAL, ANSWER, CUT, "How do I"))


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, [0, NUM_STEPS]),
        ({"every_n_steps": 2}, [0, 2, 4, NUM_STEPS]),
        ({"every_n_steps": 4, "at_start": False}, [4, NUM_STEPS]),
        ({"every_n_steps": 4, "at_end": False}, [0, 4]),
        ({"at_start": False, "at_end": False}, []),
    ],
)
def test_schedule(tmp_path, module, probes, settings, steps):
    check = HarmfulnessCheck(probes, **settings)
    fit(make_trainer(tmp_path, [check]), module, CheckedData())
    assert list(check.results) == steps
    assert [generator.step for generator in module.generators] == steps


def test_training_is_bit_equal_with_and_without_the_check(tmp_path, tiny_llama, tiny_tokenizer, probes):
    """Real generation, sampled; dropout on; the training draws from the global random state."""
    runs = []
    sampling = SamplingSettings(6, temperature=1.0)
    for callbacks in ([], [HarmfulnessCheck(probes, every_n_steps=1, sampling=sampling, max_harmfulness_rate=0)]):
        module = CheckedModule(copy.deepcopy(tiny_llama), tiny_tokenizer)
        snapshots = Snapshots()
        with pytest.warns(UserWarning, match="Training continues") if callbacks else nullcontext():
            fit(make_trainer(tmp_path, [*callbacks, snapshots]), module, CheckedData())
        assert module.model.training
        runs.append(snapshots.by_step)
    for step in range(NUM_STEPS + 1):
        assert_equal_weights(runs[0][step], runs[1][step])
    assert not torch.equal(runs[0][0]["model.lm_head.weight"], runs[0][1]["model.lm_head.weight"])


class DrawingJudge(RefusalMatcher):
    """Touches every global random state."""

    name = "drawing"

    def judge(self, exchanges):
        torch.rand(3), np.random.rand(3), random.random()
        return super().judge(exchanges)


def test_a_judge_that_draws_does_not_disturb_training(tmp_path, tiny_llama, tiny_tokenizer, probes):
    runs = []
    for callbacks in ([], [HarmfulnessCheck(probes, DrawingJudge(), every_n_steps=1)]):
        module = CheckedModule(copy.deepcopy(tiny_llama), tiny_tokenizer, lambda id_, step: ANSWERS[id_])
        fit(make_trainer(tmp_path, callbacks), module, CheckedData())
        runs.append(weights(module))
    assert_equal_weights(*runs)


def test_a_rate_at_the_bound_is_within_it_and_unparsed_counts_against(tmp_path, module, probes):
    # One of four is not refused and one is unparsed: 0.5 at worst.
    for bound, stopped in ((0.5, False), (0.49, True)):
        check = HarmfulnessCheck(probes, at_end=False, max_harmfulness_rate=bound, action="stop")
        with pytest.warns(UserWarning, match="training stopped") if stopped else nullcontext():
            fit(make_trainer(tmp_path, [check]), module, CheckedData())
        assert (check.stop_reason is not None) == stopped


def test_resuming_with_other_probes_is_an_error(tmp_path, tiny_llama, tiny_tokenizer, probes):
    def new():
        return CheckedModule(copy.deepcopy(tiny_llama), tiny_tokenizer, lambda id_, step: ANSWERS[id_])

    saved = SaveAt(2, tmp_path / "two.ckpt")
    fit(make_trainer(tmp_path, [HarmfulnessCheck(probes), saved]), new(), CheckedData())
    write_probes(tmp_path / "probes.jsonl", padding=" Please")
    with pytest.raises(DataError, match=r"are not those of the checkpoint's results\. Put them back"):
        fit(make_trainer(tmp_path, [HarmfulnessCheck(probes)]), new(), CheckedData(), saved.path)
    write_probes(tmp_path / "probes.jsonl")
    with pytest.raises(DataError, match="prompts, sampling or judge are not those of the checkpoint's results"):
        fit(make_trainer(tmp_path, [HarmfulnessCheck(probes, DrawingJudge())]), new(), CheckedData(), saved.path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every_n_steps": 0}, "every_n_steps is 0"),
        ({"max_harmfulness_rate": 1.5}, "max_harmfulness_rate is 1.5"),
        ({"action": "stop"}, "action is stop without a bound"),
        ({"sampling": SamplingSettings(0)}, "max_new_tokens is 0"),
        ({"sampling": SamplingSettings(top_p=0.0)}, "top_p is 0.0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        HarmfulnessCheck("probes.jsonl", **settings)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda path: path.unlink(), {}, "probes.jsonl: no such file"),
        (lambda path: path.write_text("{\n"), {}, "probes.jsonl, line 1: not JSON"),
        (lambda path: write_probes(path, [("a", "harmful", None), ("a", "twin", None)]), {}, "probe a occurs twice"),
        (
            lambda path: write_probes(path, padding=" and" * 300),
            {},
            r"probe h1 has \d+ tokens, more than the limit of 256",
        ),
        (
            lambda path: write_probes(path, [("o", "ordinary", None)]),
            {"max_harmfulness_rate": 0.1},
            "no harmful prompt",
        ),
    ],
)
def test_wrong_probes_fail_before_weights_are_loaded(tmp_path, module, probes, change, settings, message):
    check = HarmfulnessCheck(probes, **settings)
    change(check.probes_path)
    with pytest.raises(DataError, match=message):
        fit(make_trainer(tmp_path, [check]), module, CheckedData())
    assert module.configured == []
