"""Multiple choice by likelihood beside the answer that is written, and what a benchmark shares with a replay set."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.evaluation.scripted import RowBenchmark, ScriptedGenerator, evaluation, item, lines_of, rate, run
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from grsap.errors import ConfigError, DataError
from grsap.evaluation import Evaluation, ModelSubject
from grsap.evaluation.choices import label_ids, most_likely
from grsap.evaluation.generating import Answer
from grsap.evaluation.overlap import overlaps
from grsap.evaluation.perplexity_check import Perplexities, PerplexityCheck
from grsap.evaluation.prompts import Prompt
from grsap.generation import SamplingSettings
from grsap.generation.transformers_generator import TransformersGenerator
from grsap.judging import RefusalMatcher
from grsap.models import BaseModel
from grsap.text import ChatTemplate
from grsap.text.word_runs import word_runs

LABELS = ("yes", "no", "four")
ITEMS = [
    item(f"case {letter}", None, labels=LABELS, reference=LABELS[n % 3]) for n, letter in enumerate("abcdefghijkl")
]


def log_likelihood(model: LlamaForCausalLM, prompt: list[int], label: list[int]) -> float:
    """Written out: the sum over the label's tokens, each given all before it."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + label]), use_cache=False).logits[0].log_softmax(-1)
    return sum(float(logits[len(prompt) + n - 1, token]) for n, token in enumerate(label))


def test_the_most_likely_label_is_the_answer(
    tmp_path: Path,
    tiny_base_path: Path,
    tiny_llama: LlamaForCausalLM,
    tiny_tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = BaseModel(str(tiny_base_path), quantization="none", compute_dtype="float32")
    benchmark = RowBenchmark(ITEMS, "choices", "multiple_choice")

    def evaluate() -> dict[str, Any]:
        settings = Evaluation(
            [ModelSubject(base, name="tiny")], [benchmark], sampling=SamplingSettings(3), device="cpu"
        )
        return run(settings, tmp_path)

    results = evaluate()
    template = ChatTemplate(tiny_tokenizer)
    best = {}
    for each in ITEMS:
        prompt = template.prompt_ids(each.messages)
        labels = {label: tiny_tokenizer(label, add_special_tokens=False)["input_ids"] for label in LABELS}
        told = {label: log_likelihood(tiny_llama, prompt, ids) for label, ids in labels.items()}
        best[each.id] = max(told, key=lambda label: told[label])
    num_right = sum(best[each.id] == each.reference for each in ITEMS)
    assert 0 < num_right < len(ITEMS)
    row = rate(results, "task_score", judge="likelihood")
    assert (row["num_true"], row["num_unparsed"], row["num_prompts"]) == (num_right, 0, 12)
    written = rate(results, "task_score", judge="marks")
    assert written["num_unparsed"] > 0  # three random tokens are none of the labels
    lines = lines_of(tmp_path / "likelihoods")
    assert len(lines) == len({(line["prompt"], line["label"]) for line in lines}) == 36
    cost = json.loads((tmp_path / "manifest.json").read_text())["cost"]
    assert cost["weigh"]["tiny"]["num_done"] == 36

    monkeypatch.setattr(TransformersGenerator, "likelihoods", lambda *args: pytest.fail("asked again"))
    assert evaluate() == results


def test_labels_that_are_equally_likely_are_no_answer() -> None:
    assert most_likely({"A": -2.0, "B": -1.0, "C": -3.0}) == "B"
    assert most_likely({"A": -1.0, "B": -1.0, "C": -3.0}) is None


def test_a_label_has_the_tokens_that_it_has_in_a_conversation(tiny_base_path: Path) -> None:
    generator = TransformersGenerator(BaseModel(str(tiny_base_path), quantization="none"), device="cpu")
    for asked in (item("case a", None, labels=("no, it is green", "A")), ITEMS[0]):
        prompt = Prompt(asked, tuple(generator.template.prompt_ids(asked.messages)), "hash")
        for label in asked.labels:
            ids = [*prompt.ids, *label_ids(prompt, label, generator)]
            turns = [*asked.messages, {"role": "assistant", "content": label}]
            assert generator.template.encode(turns).input_ids[: len(ids)] == ids
            assert len(ids) > len(prompt.ids)


def test_a_backend_without_likelihoods_has_the_written_answer_alone(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    generator = ScriptedGenerator(tiny_tokenizer, lambda prompt, seed: ("yes", "stop"))
    results = run(
        evaluation(generator, [RowBenchmark(ITEMS, "choices", "multiple_choice")], [RefusalMatcher()]), tmp_path
    )
    (row,) = [row for row in results["rates"] if row["metric"] == "task_score"]
    assert (row["judge"], row["num_true"]) == ("marks", 4)


def test_overlap_with_replay_sets(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = "take the red lamp from the old house on the hill"
    turns = [
        [{"role": "user", "content": text}, {"role": "assistant", "content": "I cannot help with that."}]
        for text in (f"Please {shared} now", "What of case a?", "Something else that nobody would ask of a model")
    ]
    rows = [{"id": f"r{n}", "messages": each, "domain": "theft"} for n, each in enumerate(turns)]
    replay = tmp_path / "replay.jsonl"
    replay.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = [item("case a"), item("case b"), item(f"it: {shared}"), item("take the red lamp from the old")]
    generator = ScriptedGenerator(tiny_tokenizer, lambda prompt, seed: ("I say so.", "stop"))
    asked = evaluation(generator, [RowBenchmark(items)], [RefusalMatcher()], replay=[str(replay)])
    results = run(asked, tmp_path / "out")
    (row,) = results["overlap"]
    # "What of case a?" is a whole row; the long one shares runs of 8 words; 7 words that are shared are too few.
    assert (row["num_items"], row["num_items_found"], row["num_rows"], row["num_rows_found"]) == (4, 2, 3, 2)
    assert "2 of 4 prompts of planted share 8 words in a row" in " ".join(capsys.readouterr().out.split())
    told: list[str] = []
    gone = str(tmp_path / "gone.jsonl")
    assert overlaps([gone], asked.questions, told.append) == []  # the set of a run may have gone since
    assert told == [
        f"Overlap with {gone} is not known: {gone}: no such file. Check the path; it is taken from the "
        "working directory."
    ]
    with pytest.raises(DataError, match=r"gone\.jsonl: no such file"):
        evaluation(generator, [RowBenchmark(items)], [RefusalMatcher()], replay=[gone]).check()


def test_runs_of_words() -> None:
    text = "One two, three FOUR five six seven eight nine ten"
    assert word_runs(text, 8) == [
        hash(tuple(text.lower().replace(",", "").split()[start : start + 8])) for start in range(3)
    ]
    assert word_runs("Two words!") == word_runs("two  words") != word_runs("words two")
    assert word_runs("...") == []


def test_answers_that_surprise_a_sound_model(
    tmp_path: Path, tiny_base_path: Path, tiny_llama: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    items = [item(f"case {letter}") for letter in "abcdefghij"]
    place = {each.messages[0]["content"]: n for n, each in enumerate(items)}
    words = ["lamp", "sky", "grass", "house", "key", "order", "sorry", "blue", "green", "name", "city", "three", "Oslo"]

    def rule(prompt: str, seed: int) -> tuple[str, str]:
        number = place[prompt]
        return ("I cannot help with that." if number == 0 else f"This is {words[number]} and {words[-number]}."), "stop"

    template = ChatTemplate(tiny_tokenizer)
    perplexities = {}
    for each in items:
        ids = tiny_tokenizer(rule(each.messages[0]["content"], 0)[0], add_special_tokens=False)["input_ids"]
        total = log_likelihood(tiny_llama, template.prompt_ids(each.messages), ids)
        perplexities[each.id] = math.exp(-total / len(ids))
    bound = sorted(perplexities.values())[5] * 1.0001
    base = BaseModel(str(tiny_base_path), quantization="none", compute_dtype="float32")
    surprise = PerplexityCheck(TransformersGenerator(base, device="cpu"), bound)
    generator = ScriptedGenerator(tiny_tokenizer, rule)
    results = run(evaluation(generator, [RowBenchmark(items)], [RefusalMatcher()], surprise=surprise), tmp_path)
    above = {name for name, value in perplexities.items() if value > bound} - {"case a"}  # refusals may surprise
    assert 3 <= len(above) <= 4
    assert rate(results, "incoherent_share")["num_true"] == len(above)
    assert results["incoherence"][0]["num_by_reason"] == {"perplexity": len(above)}
    kept = lines_of(tmp_path / "perplexities")
    assert sorted(row["perplexity"] for row in kept) == pytest.approx(sorted(perplexities.values()), rel=1e-3)
    without = run(evaluation(generator, [RowBenchmark(items)], [RefusalMatcher()]), tmp_path)
    assert rate(without, "incoherent_share")["num_true"] == 0
    with pytest.raises(ConfigError, match="which cannot score texts"):
        PerplexityCheck(generator).check()


def test_an_answer_without_a_token_has_no_perplexity(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    class Dropping(ScriptedGenerator):
        tokenizer = property(lambda self: lambda text, **_: {"input_ids": []})  # type: ignore[assignment]

    model = Dropping(tiny_tokenizer, lambda prompt, seed: ("", "stop"))
    perplexities = Perplexities(tmp_path, PerplexityCheck(model))
    answer = Answer("\u200b", "stop", messages=[{"role": "user", "content": "Why?"}], num_prompt_tokens=1, num_tokens=1)
    perplexities.compute([answer])
    assert perplexities.surprising({"a": [answer]}) == {"a": [False]}
