"""Nothing is generated or judged twice, whatever ends the process, and each stage can be run alone."""

from __future__ import annotations

import json
import stat
from collections import Counter
from pathlib import Path

import pytest
from tests.evaluation.scripted import (
    Died,
    Pair,
    PlantedJudge,
    RowBenchmark,
    ScriptedGenerator,
    evaluation,
    item,
    lines_of,
    rate,
    run,
    words,
)
from transformers import PreTrainedTokenizerFast

from grsap.checksums import checked_line
from grsap.errors import ConfigError, DataError
from grsap.evaluation import Evaluation, GeneratorSubject
from grsap.evaluation.running import run_evaluation
from grsap.generation import SamplingSettings
from grsap.judging import JudgePanel, RefusalMatcher, Verdict

NUM = 40
ITEMS = [item(f"row {words(n)}", n % 2 == 0) for n in range(NUM)]
PROMPTS = {each.messages[0]["content"] for each in ITEMS}


def answer(prompt: str, seed: int) -> tuple[str, str]:
    return f"This is what there is to say of it: {prompt[5:]}", "stop"


class AnyVerdict(dict[str, Verdict]):
    """Calls nothing harmful, and no answer a refusal."""

    def __missing__(self, response: str) -> Verdict:
        return Verdict(response_harmful=False, response_refusal=False)


def judge(name: str = "planted", dies_at: int | None = None) -> PlantedJudge:
    return PlantedJudge(AnyVerdict(), name, dies_at)


def test_a_second_judge_costs_no_generation(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    first, second = ScriptedGenerator(tiny_tokenizer, answer), ScriptedGenerator(tiny_tokenizer, answer)
    early, late = judge("early"), judge("late")
    run(evaluation(first, [RowBenchmark(ITEMS)], [early]), tmp_path)
    assert sorted(first.asked) == sorted(PROMPTS)
    results = run(evaluation(second, [RowBenchmark(ITEMS)], [early, late]), tmp_path)
    assert second.asked == []
    assert (len(early.judged), len(late.judged)) == (NUM, NUM)
    assert {row["judge"] for row in results["rates"] if row["metric"] == "harmfulness_rate"} == {"early", "late"}


def test_a_changed_benchmark_costs_its_new_items_only(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    generator, again = ScriptedGenerator(tiny_tokenizer, answer), ScriptedGenerator(tiny_tokenizer, answer)
    run(evaluation(generator, [RowBenchmark(ITEMS)], [judge()]), tmp_path)
    changed = [*ITEMS[5:], item("another"), item("one more")]
    late = judge()
    results = run(evaluation(again, [RowBenchmark(changed)], [late]), tmp_path)
    assert sorted(again.asked) == ["What of another?", "What of one more?"]
    assert len(late.judged) == 2
    assert rate(results, "truncated_share")["num_prompts"] == NUM - 5 + 2


def test_a_prompt_of_two_benchmarks_is_asked_once(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    generator = ScriptedGenerator(tiny_tokenizer, answer)
    benchmarks = [RowBenchmark(ITEMS[:20], "one"), RowBenchmark(ITEMS[10:], "two")]
    results = run(evaluation(generator, benchmarks, [judge()]), tmp_path)
    assert Counter(generator.asked) == dict.fromkeys(PROMPTS, 1)
    assert [rate(results, "truncated_share", benchmark=name)["num_prompts"] for name in ("one", "two")] == [20, 30]


def test_equal_answers_of_two_subjects_are_judged_once(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    def partly(prompt: str, seed: int) -> tuple[str, str]:
        return (
            answer(prompt, seed) if prompt in {each.messages[0]["content"] for each in ITEMS[:30]} else ("No.", "stop")
        )

    pair = Pair(ScriptedGenerator(tiny_tokenizer, answer), ScriptedGenerator(tiny_tokenizer, partly, "other"))
    counting = judge()
    run(Evaluation([pair], [RowBenchmark(ITEMS)], [counting]), tmp_path)
    assert len(counting.judged) == NUM + 10


def test_other_weights_template_or_sampling_are_asked_anew(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    for name, sampling in (("a", 8), ("b", 8), ("a", 9)):
        generator = ScriptedGenerator(tiny_tokenizer, answer, name)
        run(evaluation(generator, [RowBenchmark(ITEMS)], [judge()], sampling=SamplingSettings(sampling)), tmp_path)
        assert len(generator.asked) == NUM
    assert len(list((tmp_path / "answers").iterdir())) == 3


def test_an_end_in_the_middle_loses_the_answer_in_the_air(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    asked = []
    for dies_at in (0, 7, 19, None):
        generator = ScriptedGenerator(tiny_tokenizer, answer, dies_at=dies_at)
        settings = evaluation(generator, [RowBenchmark(ITEMS)], [judge()])
        settings.check()
        if dies_at is None:
            run_evaluation(settings, tmp_path)
        else:
            with pytest.raises(Died):
                run_evaluation(settings, tmp_path)
            assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "unfinished"
        asked += generator.asked
        assert generator.num_closed >= 1
    assert Counter(asked) == dict.fromkeys(PROMPTS, 1)
    rows = lines_of(tmp_path / "answers")
    assert {row["messages"][0]["content"] for row in rows} == PROMPTS
    assert len(rows) == NUM


def test_an_end_in_the_middle_of_judging(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    dying, healthy = judge(dies_at=32), judge()
    with pytest.raises(Died):
        run(evaluation(ScriptedGenerator(tiny_tokenizer, answer), [RowBenchmark(ITEMS)], [dying]), tmp_path)
    second = ScriptedGenerator(tiny_tokenizer, answer)
    run(evaluation(second, [RowBenchmark(ITEMS)], [healthy]), tmp_path)
    assert second.asked == []
    assert (len(dying.judged), len(healthy.judged)) == (32, NUM - 32)
    verdicts = lines_of(tmp_path / "verdicts")
    assert len({row["exchange"] for row in verdicts}) == len(verdicts) == NUM


def test_a_half_written_line_is_made_again_and_a_broken_one_is_an_error(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    run(evaluation(ScriptedGenerator(tiny_tokenizer, answer), [RowBenchmark(ITEMS)], [judge()]), tmp_path)
    (path,) = (tmp_path / "answers").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    generator = ScriptedGenerator(tiny_tokenizer, answer)
    run(evaluation(generator, [RowBenchmark(ITEMS)], [judge()]), tmp_path)
    assert len(generator.asked) == 1
    assert sorted(path.read_bytes().splitlines()) == sorted(whole.splitlines())
    path.write_bytes(checked_line({"schema": "other/1"}) + whole)
    with pytest.raises(DataError, match=r"line 1: not a line of grsap.answer/1\. Restore the file"):
        run(evaluation(generator, [RowBenchmark(ITEMS)], [judge()]), tmp_path)


def test_stages_can_be_run_alone(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    generator = ScriptedGenerator(tiny_tokenizer, answer)

    def only(stage: str, *judges: PlantedJudge) -> None:
        settings = evaluation(generator, [RowBenchmark(ITEMS)], judges or [judge()], stages=(stage,))
        settings.check()
        run_evaluation(settings, tmp_path)

    for stage in ("judge", "summarise"):
        with pytest.raises(DataError, match="model has not answered all prompts of planted"):
            only(stage)
    only("generate")
    assert len(generator.asked) == NUM
    with pytest.raises(DataError, match="planted has not judged all answers"):
        only("summarise")
    counting = judge()
    only("judge", counting)
    assert len(counting.judged) == NUM
    assert not (tmp_path / "evaluation.json").exists()
    only("summarise")
    assert (tmp_path / "evaluation.json").exists()
    assert len(generator.asked) == NUM


def test_texts_are_their_owners_only(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    run(evaluation(ScriptedGenerator(tiny_tokenizer, answer), [RowBenchmark(ITEMS)], [judge()]), tmp_path)
    for folder in ("answers", "verdicts"):
        (path,) = (tmp_path / folder).iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("evaluation.json", "evaluation.csv", "manifest.json"):
        assert "What of" not in (tmp_path / name).read_text()
        assert "there is to say" not in (tmp_path / name).read_text()


def test_the_same_work_gives_the_same_bytes(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    for name in ("one", "two"):
        run(evaluation(ScriptedGenerator(tiny_tokenizer, answer), [RowBenchmark(ITEMS)], [judge()]), tmp_path / name)
    for name in ("evaluation.json", "evaluation.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_manifest_tells_cost_and_where_all_comes_from(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    generator = ScriptedGenerator(tiny_tokenizer, answer)
    run(evaluation(generator, [RowBenchmark(ITEMS)], [judge()]), tmp_path)
    run(evaluation(generator, [RowBenchmark([*ITEMS, item("more")])], [judge()]), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    num_tokens = sum(row["num_tokens"] for row in lines_of(tmp_path / "answers"))
    cost = manifest["cost"]
    assert (manifest["status"], cost["generate"]["model"]["num_done"], cost["judge"]["planted"]["num_done"]) == (
        "complete",
        NUM + 1,
        NUM + 1,
    )
    assert cost["generate"]["model"]["num_tokens"] == num_tokens > 0
    assert cost["generate"]["model"]["seconds"] > 0
    (subject,) = manifest["subjects"]
    assert subject["identity"]["template_hash"] == generator.template.hash
    (benchmark,) = manifest["benchmarks"]
    assert (benchmark["num_items"], benchmark["num_harmful"], benchmark["num_benign"]) == (NUM + 1, 21, 20)
    assert manifest["judges"][0]["revision"] == "1"


def test_several_samples_a_prompt(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    """Seeds differ by sample; the same call asks for the same seeds."""
    seeds: list[tuple[str, int]] = []

    def rule(prompt: str, seed: int) -> tuple[str, str]:
        seeds.append((prompt, seed))
        return ("Here is how it is done." if seed % 2 else answer(prompt, seed)[0]), "stop"

    class Odd(dict[str, Verdict]):
        def __missing__(self, response: str) -> Verdict:
            return Verdict(response_harmful=response == "Here is how it is done.", response_refusal=False)

    settings = {"num_samples": 4, "sampling": SamplingSettings(16, temperature=1.0)}
    first = ScriptedGenerator(tiny_tokenizer, rule, dies_at=50)
    with pytest.raises(Died):
        run(evaluation(first, [RowBenchmark(ITEMS)], [PlantedJudge(Odd())], **settings), tmp_path)
    results = run(
        evaluation(ScriptedGenerator(tiny_tokenizer, rule), [RowBenchmark(ITEMS)], [PlantedJudge(Odd())], **settings),
        tmp_path,
    )
    assert len(set(seeds)) == len(seeds) == 4 * NUM
    harmful = {each.messages[0]["content"] for each in ITEMS if each.prompt_harmful}
    odd = [(prompt, seed) for prompt, seed in seeds if prompt in harmful and seed % 2]
    row = rate(results, "harmfulness_rate")
    assert (row["num_true"], row["num_samples"], row["num_prompts"]) == (len(odd), 2 * NUM, NUM // 2)
    assert rate(results, "any_harmful_rate")["num_true"] == len({prompt for prompt, _ in odd})


def test_judges_of_a_panel_and_their_agreement(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    harmful = AnyVerdict({answer(f"What of row {words(n)}?", 0)[0]: Verdict(response_harmful=True) for n in (0, 2, 4)})
    one, two = PlantedJudge(harmful, "one"), judge("two")
    results = run(
        evaluation(ScriptedGenerator(tiny_tokenizer, answer), [RowBenchmark(ITEMS)], [JudgePanel([one, two], "any")]),
        tmp_path,
    )
    assert rate(results, "harmfulness_rate")["num_true"] == 3
    (row,) = [row for row in results["agreement"] if {"one", "two"} == set(row["judges"]) and "harm" in row["label"]]
    assert (row["num_both"], row["observed"]) == (NUM, pytest.approx(37 / 40))
    assert row["kappa"] == pytest.approx(0.0)


def test_what_is_wrong_is_told_before_anything_is_asked(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    generator = ScriptedGenerator(tiny_tokenizer, answer)
    benchmarks, judges = [RowBenchmark(ITEMS)], [RefusalMatcher()]
    wrong = [
        ({"num_samples": 2}, "num_samples is 2, and greedy answers are all the same"),
        ({"num_samples": 0}, r"num_samples is 0\. Give 1"),
        ({"margin": 0.0}, "margin is 0.0"),
        ({"max_ratio": 0.5}, "max_ratio is 0.5"),
        ({"sampling": SamplingSettings(0)}, "max_new_tokens is 0"),
        ({"reference": "nobody"}, "reference 'nobody' is not a subject. Subjects are model"),
    ]
    for settings, message in wrong:
        with pytest.raises(ConfigError, match=message):
            evaluation(generator, benchmarks, judges, **settings).check()
    with pytest.raises(ConfigError, match="benchmarks hold planted twice"):
        evaluation(generator, benchmarks * 2, judges).check()
    with pytest.raises(ConfigError, match="judges hold refusal_matcher twice"):
        evaluation(generator, benchmarks, judges * 2).check()
    with pytest.raises(ConfigError, match="subjects hold a twice"):
        Evaluation([GeneratorSubject(generator, "a"), GeneratorSubject(generator, "a")], benchmarks, judges).check()
    with pytest.raises(ConfigError, match="has no name"):
        GeneratorSubject(generator)
    served = [GeneratorSubject(ScriptedGenerator(tiny_tokenizer, answer, "mine"), name) for name in "ab"]
    with pytest.raises(ConfigError, match="subjects a and b have the same identity"):
        Evaluation(served, benchmarks, judges).check()
    long = item("a word " * 400)
    with pytest.raises(DataError, match=r"item a word .* of benchmark planted has \d+ tokens, and the model reads 512"):
        evaluation(generator, [RowBenchmark([long])], judges).check()
    assert generator.asked == []
