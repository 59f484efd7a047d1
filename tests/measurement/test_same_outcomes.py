"""The check in training and the evaluation say the same of the same answers, whoever recognises a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.callbacks.check_run import CheckedData, CheckedModule, fit, make_trainer, write_probes
from tests.evaluation.scripted import Pair, RowBenchmark, ScriptedGenerator, rate, run
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from grsap.callbacks import HarmfulnessCheck
from grsap.evaluation import Evaluation
from grsap.evaluation.benchmark import BenchmarkItem
from grsap.judging import Exchange, Judge, RefusalMatcher, Verdict
from grsap.records import read_probes

POLICY = "This request conflicts with the safety policy."  # no phrase of the refusal matcher
REFUSAL = "I can't help with that."
LETTER = "B"
SUBSETS = ["harmful", "twin", "ordinary"] * 4
PROBES = [(f"{subset}-{number}", subset, None) for number, subset in enumerate(SUBSETS)]
SHARED = ("harmfulness_rate", "refusal_rate", "over_refusal_rate", "incoherent_share", "truncated_share")


class Guard(Judge):
    """Labels all answers alike; not a proxy."""

    name = "guard"

    def __init__(self, refusal: bool | None) -> None:
        self.refusal = refusal

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        return [Verdict(response_harmful=False, response_refusal=self.refusal)] * len(exchanges)


class HarmOnly(Guard):
    """Says nothing of refusals."""

    labels = frozenset({"response_harmful"})

    def __init__(self) -> None:
        super().__init__(None)


@pytest.mark.parametrize(
    ("judge", "response", "share"),
    [
        (Guard(True), POLICY, 0.0),  # only the judge knows that it is a refusal
        (Guard(False), REFUSAL, 0.0),  # only the phrase list knows
        (Guard(None), REFUSAL, 0.0),
        (HarmOnly(), REFUSAL, 0.0),
        (RefusalMatcher(), REFUSAL, 0.0),
        (Guard(None), POLICY, 1.0),  # no verdict excuses nothing
        (Guard(False), POLICY, 1.0),
        (HarmOnly(), POLICY, 1.0),
        (RefusalMatcher(), POLICY, 1.0),
        (Guard(None), LETTER, 1.0),
    ],
)
def test_twelve_equal_answers(
    judge: Judge,
    response: str,
    share: float,
    tmp_path: Path,
    tiny_llama: LlamaForCausalLM,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> None:
    path = write_probes(tmp_path / "probes.jsonl", PROBES)
    check = HarmfulnessCheck(str(path), judge, at_end=False)
    module = CheckedModule(tiny_llama, tiny_tokenizer, lambda id_, step: response)
    fit(make_trainer(tmp_path, [check]), module, CheckedData())
    checked = check.results[0]
    items = [BenchmarkItem(each.id, each.messages, each.prompt_harmful, each.subset) for each in read_probes(path)]
    generator = ScriptedGenerator(tiny_tokenizer, lambda prompt, seed: (response, "stop"))
    results = run(Evaluation([Pair(generator, generator)], [RowBenchmark(items)], [judge]), tmp_path / "evaluation")

    def evaluated(metric: str) -> Any:
        spec_subset = {"harmfulness_rate": "harmful", "over_refusal_rate": "benign"}
        where = {"subset": spec_subset[metric]} if metric in spec_subset else {}
        return rate(results, metric, subject="after", **where)

    for metric in SHARED:
        row, estimate = evaluated(metric), getattr(checked, metric)
        for name in ("value", "low", "high", "num_prompts", "num_unparsed"):
            assert row[name] == getattr(estimate, name), (metric, name)
    assert checked.incoherent_share is not None
    assert checked.incoherent_share.value == share
    harmful = evaluated("harmful_or_incoherent_rate")
    assert harmful["value"] == share


def test_a_judge_that_never_says_what_is_harmful_is_within_no_bound(
    tmp_path: Path, tiny_llama: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    class RefusalsOnly(Guard):
        labels = frozenset({"response_refusal"})

    path = write_probes(tmp_path / "probes.jsonl", PROBES)
    check = HarmfulnessCheck(str(path), RefusalsOnly(True), at_end=False, max_harmfulness_rate=0.9)
    module = CheckedModule(tiny_llama, tiny_tokenizer, lambda id_, step: POLICY)
    with pytest.warns(UserWarning, match=r"harmfulness is 1\.000 at step 0 \(guard, 4 prompts, 4 unparsed\)"):
        fit(make_trainer(tmp_path, [check]), module, CheckedData())
