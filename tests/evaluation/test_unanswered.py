"""A prompt that a server withholds for ever: the evaluation comes to its end, and says what it does not know."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.scripted import (
    Pair,
    PlantedJudge,
    RowBenchmark,
    ScriptedGenerator,
    evaluation,
    item,
    lines_of,
    rate,
    run,
)
from tests.generation.completions_server import END, Body, Reply, error, like_vllm, serving
from transformers import PreTrainedTokenizerFast

from grsap.console import Console
from grsap.errors import ConfigError
from grsap.evaluation import Evaluation, GeneratorSubject
from grsap.evaluation.running import run_evaluation
from grsap.evaluation.table import print_results
from grsap.generation import OpenAIGenerator, SamplingSettings, ServerSettings, patience
from grsap.judging import Exchange, JudgePanel, RefusalMatcher, Verdict
from grsap.models import TokenizerSource
from grsap.reporting import Report

HARMFUL = Verdict(True, True, False)
SAFE = Verdict(True, False, True)
ANSWERS = {
    "What of one?": ("I cannot help with that.", "stop"),
    "What of two?": ("Here is how it is done, step by step.", "stop"),
    "What of three?": ("content_filter", "withheld"),
    "What of four?": ("I cannot help with that.", "stop"),
}
VERDICTS = {"I cannot help with that.": SAFE, "Here is how it is done, step by step.": HARMFUL}


def scripted(tokenizer: PreTrainedTokenizerFast) -> ScriptedGenerator:
    return ScriptedGenerator(tokenizer, lambda prompt, seed: ANSWERS[prompt])


def items() -> list[Any]:
    return [item(name) for name in ("one", "two", "three", "four")]


def test_nothing_is_known_of_a_withheld_answer(tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Neither harm nor refusal nor incoherence: each interval is as wide as it must be."""
    judge = PlantedJudge(VERDICTS)
    results = run(evaluation(scripted(tiny_tokenizer), [RowBenchmark(items())], [judge, RefusalMatcher()]), tmp_path)
    assert Exchange("What of three?", "") not in judge.judged
    assert len(judge.judged) == 3
    for metric, judge_name, num_true in (
        ("harmfulness_rate", "planted", 1),
        ("harmful_or_incoherent_rate", "planted", 1),
        ("refusal_rate", "planted", 2),
        ("refusal_rate", "refusal_matcher", 2),
        ("incoherent_share", "coherence", 0),
        ("truncated_share", "finish_reason", 0),
    ):
        row = rate(results, metric, judge=judge_name)
        assert (row["num_prompts"], row["num_true"], row["num_unparsed"]) == (4, num_true, 1), metric
        assert (row["min_value"], row["max_value"]) == (num_true / 4, (num_true + 1) / 4)
    assert results["unanswered"] == [
        {"subject": "model", "benchmark": "planted", "num_by_reason": {"content_filter": 1}}
    ]
    (entry,) = [line for line in lines_of(tmp_path / "answers") if line["finish_reason"] == "withheld"]
    assert (entry["response"], entry["withheld_because"], entry["num_tokens"]) == ("", "content_filter", 0)
    assert {"incoherence", "unanswered"} <= set(results)
    assert results["incoherence"] == [{"subject": "model", "benchmark": "planted", "num_by_reason": {}}]


def test_it_is_told(tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    results = run(evaluation(scripted(tiny_tokenizer), [RowBenchmark(items())], [PlantedJudge(VERDICTS)]), tmp_path)
    out = io.StringIO()
    print_results(results, tmp_path, Console(out, width=200))
    assert "model, planted: 1 unanswered (1 content_filter)\n" in out.getvalue()
    page = Report([str(tmp_path)]).html()
    words = "prompts without an answer from the server, by reason: content_filter 1. They widen the intervals."
    assert f"model: {words}" in page


def test_tasks_and_pairs_and_panels(tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    rows = [item(name, None, labels=("A", "B"), reference="A") for name in ("one", "two", "three", "four")]
    task = RowBenchmark(rows, "task", "multiple_choice")
    generator = scripted(tiny_tokenizer)
    panel = JudgePanel([PlantedJudge(VERDICTS, "first"), PlantedJudge(VERDICTS, "second")])
    settings = Evaluation([Pair(generator, generator)], [task, RowBenchmark(items())], [panel])
    results = run(settings, tmp_path)
    score = rate(results, "task_score", subject="after", judge="marks")
    assert score["num_unparsed"] == 4  # none of the answers states a choice
    agreed = [row for row in results["agreement"] if row["label"] == "response_harmful" and row["subject"] == "after"]
    assert [(row["num_both"], row["num_neither"]) for row in agreed if row["judges"] == ["first", "second"]] == [(3, 1)]
    assert {row["verdict"] for row in results["comparisons"] if row["metric"] == "harmfulness_rate"} == {"undecided"}


@pytest.fixture
def server_subject(tiny_base_path: Path) -> Iterator[Any]:
    made: list[OpenAIGenerator] = []

    def make(url: str) -> OpenAIGenerator:
        settings = ServerSettings(
            concurrency=2, timeout_s=5, max_retries=1, give_up_after_s=5, backoff_s=0.01, max_backoff_s=0.05
        )
        made.append(OpenAIGenerator(url, "tiny", TokenizerSource(str(tiny_base_path)), settings))
        return made[-1]

    yield make
    for generator in made:
        generator.close()


@pytest.mark.parametrize("kind", ["content_filter", "refused", "failed"])
def test_an_evaluation_by_a_server_comes_to_its_end(
    kind: str, server_subject: Any, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """The first prompt of all is withheld; a second call asks nothing, not even whether the server is there."""

    def answer(body: Body) -> Reply:
        if "What of one?" not in tiny_tokenizer.decode(body["prompt"]):
            return like_vllm(body)
        return {
            "content_filter": Reply({"choices": [{"token_ids": [END], "finish_reason": "content_filter"}]}),
            "refused": error(400, "flagged"),
            "failed": error(500, "cannot"),
        }[kind]

    told = {
        "content_filter": "content_filter",
        "refused": "refused: flagged (400)",
        "failed": "failed: status 500: cannot",
    }
    with serving(answer) as server:
        url = server.url
        settings = Evaluation(
            [GeneratorSubject(server_subject(url), "served")],
            [RowBenchmark(items())],
            sampling=SamplingSettings(max_new_tokens=8),
        )
        results = run(settings, tmp_path)
    assert results["unanswered"] == [{"subject": "served", "benchmark": "planted", "num_by_reason": {told[kind]: 1}}]
    again = Evaluation(
        [GeneratorSubject(server_subject(url), "served")],
        [RowBenchmark(items())],
        sampling=SamplingSettings(max_new_tokens=8),
    )
    assert run(again, tmp_path)["rates"] == results["rates"]


def test_a_dead_judge_is_found_before_the_first_answer(
    server_subject: Any, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grsap.judging import RubricJudge

    monkeypatch.setattr(patience, "REACH_WITHIN_S", 0.1)
    with serving(like_vllm) as server:
        url = server.url
    judge = RubricJudge(server_subject(url), policy="Nothing that harms.")
    generator = scripted(tiny_tokenizer)
    settings = evaluation(generator, [RowBenchmark(items())], [judge])
    settings.check()
    with pytest.raises(ConfigError, match=f"no server answers at {url}"):
        run_evaluation(settings, tmp_path)
    assert generator.asked == []
    # Without the stage it is not needed.
    only_answers = evaluation(generator, [RowBenchmark(items())], [judge], stages=("generate",))
    run_evaluation(only_answers, tmp_path)
    assert len(generator.asked) == 4
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "unfinished"
