"""A model that thinks before it answers is measured by its answer, in the check of a training and in an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.callbacks.check_run import CheckedData, CheckedModule, fit, make_trainer, write_probes
from tests.evaluation.scripted import Pair, PlantedJudge, RowBenchmark, ScriptedGenerator, lines_of, rate, run
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from grsap.callbacks import HarmfulnessCheck
from grsap.checksums import checked_line
from grsap.evaluation import Evaluation
from grsap.evaluation.benchmark import BenchmarkItem
from grsap.generation import Generation
from grsap.judging import Judge, RefusalMatcher, Verdict
from grsap.measurement.responses import Response, read_response, stored_response
from grsap.records import read_probes

THOUGHT = "The user wants to get into a house that may be their neighbour's. " * 5
REFUSAL = "I'm sorry, but I can't help with that."
PROBES = [(f"{subset}-{number}", subset, None) for number, subset in enumerate(["harmful", "twin", "ordinary"] * 4)]


class Measured:
    """The same text as every answer: checked at step 0, and evaluated."""

    def __init__(self, text: str, judge: Judge, folder: Path, model: LlamaForCausalLM, tokenizer: Any) -> None:
        path = write_probes(folder / "probes.jsonl", PROBES)
        check = HarmfulnessCheck(str(path), judge, at_end=False)
        fit(make_trainer(folder, [check]), CheckedModule(model, tokenizer, lambda id_, step: text), CheckedData())
        self.checked = check.results[0]
        self.transcript = json.loads((folder / "transcripts" / "step=000000.jsonl").read_text().splitlines()[0])
        self.items = [BenchmarkItem(p.id, p.messages, p.prompt_harmful, p.subset) for p in read_probes(path)]
        generator = ScriptedGenerator(tokenizer, lambda prompt, seed: (text, "stop"))
        self.settings = Evaluation([Pair(generator, generator)], [RowBenchmark(self.items)], [judge])
        self.folder = folder / "evaluation"
        self.results = run(self.settings, self.folder)
        self.stored = lines_of(self.folder / "answers")[0]

    def assert_rate(self, metric: str, value: float | None, num_unparsed: int = 0, **where: str) -> None:
        estimate = getattr(self.checked, metric)
        row = rate(self.results, metric, subject="after", **where)
        assert (estimate.value, estimate.num_unparsed) == (row["value"], row["num_unparsed"]) == (value, num_unparsed)


def test_a_model_that_refuses_after_thinking_refuses(
    tmp_path: Path, tiny_llama: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    text = f"<think>\n{THOUGHT}\n</think>\n\n{REFUSAL}"
    found = Measured(text, RefusalMatcher(), tmp_path, tiny_llama, tiny_tokenizer)
    found.assert_rate("harmfulness_rate", 0.0, subset="harmful")
    found.assert_rate("refusal_rate", 1.0)
    found.assert_rate("compliance_rate", 0.0, subset="harmful")
    found.assert_rate("incoherent_share", 0.0)
    for kept in (found.transcript, found.stored):
        assert (kept["response"], kept["thought"], kept["is_thought_open"]) == (REFUSAL, THOUGHT.strip(), False)


def test_a_thought_that_never_ends_is_no_answer_and_no_judge_is_asked(
    tmp_path: Path, tiny_llama: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    judge = PlantedJudge({"": Verdict(response_harmful=True, response_refusal=False)})
    found = Measured(f"<think>\n{REFUSAL}", judge, tmp_path, tiny_llama, tiny_tokenizer)
    assert judge.judged == []
    found.assert_rate("harmfulness_rate", None, num_unparsed=4, subset="harmful")
    found.assert_rate("incoherent_share", 1.0)
    found.assert_rate("no_answer_rate", 1.0, subset="harmful")
    assert found.results["incoherence"][0]["num_by_reason"] == {"open_thought": 12}
    for kept in (found.transcript, found.stored):
        assert (kept["response"], kept["thought"], kept["is_thought_open"]) == ("", REFUSAL, True)
    assert found.transcript["judge_reason"] == "unanswered"


def test_answers_of_an_older_evaluation_are_read_without_their_thoughts(
    tmp_path: Path, tiny_llama: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    text = f"<think>\n{THOUGHT}\n</think>\n\n{REFUSAL}"
    found = Measured(text, RefusalMatcher(), tmp_path, tiny_llama, tiny_tokenizer)
    for path in (found.folder / "answers").glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            del row["thought"], row["is_thought_open"], row["checksum"]
            row["response"] = text
        path.write_bytes(b"".join(checked_line(row) for row in rows))
    (found.folder / "evaluation.json").unlink()
    assert run(found.settings, found.folder)["rates"] == found.results["rates"]


@pytest.mark.parametrize(
    "response",
    [
        Response("Yes.", "stop"),
        Response("Yes.", "length", thought="Hm."),
        Response("", "length", thought="Hm", is_thought_open=True),
        Response("", "withheld"),
    ],
)
def test_what_is_stored_is_read_again(response: Response) -> None:
    assert stored_response(response.to_dict()) == response
    assert ("thought" in response.to_dict()) is bool(response.thought)


def test_a_prompt_that_ends_inside_a_thought() -> None:
    closed, cut = (Generation("a", text, (), "stop") for text in ("Hm.\n</think>\n\nYes.", "Hm. Yes."))
    assert read_response(closed, opened=True) == Response("Yes.", "stop", thought="Hm.")
    assert read_response(cut, opened=True) == Response("", "stop", thought="Hm. Yes.", is_thought_open=True)
    assert read_response(cut, opened=False) == Response("Hm. Yes.", "stop")
    withheld = Generation("a", "", (), "withheld", withheld_because="filter")
    assert read_response(withheld, opened=True) == Response("", "withheld")
