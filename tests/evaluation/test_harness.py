"""Tasks of lm-eval: what is read of its results, and, where the package is installed, a task of one's own."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from tests.evaluation.scripted import RowBenchmark, ScriptedGenerator, evaluation, item, run
from transformers import PreTrainedTokenizerFast

from grsap.errors import ConfigError, MissingPackageError, TemplateError
from grsap.evaluation import Evaluation, ModelSubject
from grsap.evaluation.harness import HarnessTasks, harness_rows
from grsap.evaluation.subjects import Engines, Subject
from grsap.generation import SamplingSettings
from grsap.judging import RefusalMatcher
from grsap.models import BaseModel

FOUND: dict[str, Any] = {
    "results": {
        "hellaswag": {
            "alias": "hellaswag",
            "acc,none": 0.5,
            "acc_stderr,none": 0.05,
            "acc_norm,none": 0.25,
            "acc_norm_stderr,none": "N/A",
        },
        "gsm8k": {"exact_match,strict-match": 0.125, "exact_match_stderr,strict-match": float("nan")},
    },
    "n-samples": {"hellaswag": {"original": 10042, "effective": 100}},
}


def test_a_row_a_task_and_metric() -> None:
    assert harness_rows(FOUND) == [
        {"task": "hellaswag", "metric": "acc", "value": 0.5, "stderr": 0.05, "num_rows": 100},
        {"task": "hellaswag", "metric": "acc_norm", "value": 0.25, "stderr": None, "num_rows": 100},
        {"task": "gsm8k", "metric": "exact_match,strict-match", "value": 0.125, "stderr": None, "num_rows": None},
    ]


def test_what_is_missing_is_told_first(
    tiny_tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = ScriptedGenerator(tiny_tokenizer, lambda prompt, seed: ("I say so.", "stop"))

    def check(*names: str) -> None:
        tasks = HarnessTasks([*names])
        evaluation(generator, [RowBenchmark([item("a")])], [RefusalMatcher()], lm_eval_tasks=tasks).check()

    with pytest.raises(ConfigError, match=r"names is empty\. Name a task, or leave lm_eval_tasks out"):
        check()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    for version in ("0.4.9", "0.4.9.2"):
        monkeypatch.setattr(importlib.metadata, "version", lambda name, version=version: version)
        with pytest.raises(MissingPackageError, match=rf"lm-eval {version} cannot be imported with transformers 5"):
            check("gsm8k")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.4.10.dev1")
    with pytest.raises(ConfigError, match=r"lm_eval_tasks: model does not answer from this process\. Use a"):
        check("gsm8k")
    assert generator.asked == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="Install grsap with the extra `lm-eval`"):
        check("gsm8k")


DATED = (
    "{% for message in messages %}{% if loop.first and not date_string is defined %}{{ strftime_now('%Y') }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' + mood }}{% endif %}"
)


def test_prompts_are_in_the_models_template_with_its_settings(
    tmp_path: Path, tiny_base_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, Any]] = []

    class Model:
        def __init__(self, **settings: Any) -> None:
            made.append(settings)

    harness = ModuleType("lm_eval.models.huggingface")
    harness.HFLM = Model  # type: ignore[attr-defined]
    for name in ("lm_eval", "lm_eval.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "lm_eval.models.huggingface", harness)
    (tmp_path / "dated.jinja").write_text(DATED)

    def subject(kwargs: dict[str, Any]) -> Subject:
        base = BaseModel(str(tiny_base_path), chat_template=str(tmp_path / "dated.jinja"), chat_template_kwargs=kwargs)
        (found,) = ModelSubject(base, name="tiny").subjects(Engines("cpu"), print)
        return found

    monkeypatch.setattr(Subject, "model", lambda self: None)
    ask = {"role": "user", "content": "2 + 2?"}
    model = HarnessTasks(["gsm8k"]).model(subject({"date_string": "26 Jul 2024", "mood": "Well, "}))
    assert model.apply_chat_template([ask]) == "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\nWell, "
    begun = [ask, {"role": "assistant", "content": "It is "}]
    assert model.apply_chat_template(begun, add_generation_prompt=False).endswith("assistant\nWell, It is ")
    assert made[0]["add_bos_token"] is False
    HarnessTasks(["gsm8k"], apply_chat_template=False).model(subject({"date_string": "26 Jul 2024"}))
    assert made[1]["add_bos_token"] is None
    with pytest.raises(TemplateError, match="the chat template writes the current date"):
        HarnessTasks(["gsm8k"]).model(subject({"mood": "Well, "}))


def test_a_task_of_ones_own(tmp_path: Path, tiny_base_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lm_eval", reason="needs the extra lm-eval")
    rows = [{"question": f"case {n}", "choices": ["yes", "no"], "answer": n % 2} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "my_choice",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "my_choice.yaml").write_text(yaml.safe_dump(task))
    base = BaseModel(str(tiny_base_path), quantization="none", compute_dtype="float32")

    def evaluate() -> list[dict[str, Any]]:
        settings = Evaluation(
            [ModelSubject(base, name="tiny")],
            [RowBenchmark([item("a")])],
            sampling=SamplingSettings(2),
            lm_eval_tasks=HarnessTasks(["my_choice"], include_path=str(tmp_path / "tasks")),
            device="cpu",
        )
        return list(run(settings, tmp_path / "out")["lm_eval"])

    (row,) = found = evaluate()
    assert (row["subject"], row["task"], row["metric"], row["num_rows"]) == ("tiny", "my_choice", "acc", 8)
    assert row["value"] in {n / 8 for n in range(9)}
    import lm_eval

    monkeypatch.setattr(lm_eval, "simple_evaluate", lambda *args, **kwargs: pytest.fail("run again"))
    assert evaluate() == found
