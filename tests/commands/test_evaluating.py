"""`grsap validate`, `test` and `predict` in process, on the tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.commands.conftest import Run, conversation, write_rows

from grsap.cli import main
from grsap.generation import ModelGenerator
from grsap.generation.base import Generation, GenerationRequest, SamplingSettings


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_evaluating_verbs(run: Run, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(run.folder / "task.jsonl")
    run.config["data"]["task"]["init_args"] |= {"validation_path": path, "test_path": path}
    assert run.fit() == 0
    capsys.readouterr()
    assert main([verb, "--config", str(run.path)]) == 0
    captured = capsys.readouterr()
    assert f"Using {run.run_dir / 'checkpoints' / 'step=000002'}." in captured.err
    stage = {"validate": "validation", "test": "test"}[verb]
    assert f"{stage}/loss" in captured.out


def test_evaluating_writes_nothing(run: Run) -> None:
    path = str(run.folder / "task.jsonl")
    run.config["data"]["task"]["init_args"] |= {"validation_path": path}
    assert run.fit() == 0
    before = {file: file.read_bytes() for file in run.run_dir.rglob("*") if file.is_file()}
    assert main(["validate", "--config", str(run.path)]) == 0
    assert {file: file.read_bytes() for file in run.run_dir.rglob("*") if file.is_file()} == before


def test_predict_answers_the_test_rows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, str] = {}

    def generate(self: object, requests: list[GenerationRequest], settings: SamplingSettings) -> list[Generation]:
        decode = self.template.tokenizer.decode
        asked.update({request.id: decode(request.prompt_ids) for request in requests})
        texts = {"t0": "answer 0"}
        return [Generation(each.id, texts.get(each.id, "no idea"), (1,), "stop") for each in requests]

    monkeypatch.setattr(ModelGenerator, "generate", generate)
    init_args = run.config["data"]["task"]["init_args"]
    init_args |= {"test_path": init_args["train_path"], "exact_match": True}
    assert main(["predict", "--base", "--config", str(run.write())]) == 0
    path = run.run_dir / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"t{n}" for n in range(12)]
    assert [line["score"] for line in lines] == [1.0] + 11 * [0.0]
    assert asked["t3"] == "<|im_start|>user\ntwo and 3<|im_end|>\n<|im_start|>assistant\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_predict_asks_for_the_last_turn_whatever_was_trained_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def generate(self: object, requests: list[GenerationRequest], settings: SamplingSettings) -> list[Generation]:
        asked.extend(self.template.tokenizer.decode(request.prompt_ids) for request in requests)
        return [Generation(each.id, "answer 2", (1,), "stop") for each in requests]

    monkeypatch.setattr(ModelGenerator, "generate", generate)
    messages = [*conversation("two and 1", "answer 1"), *conversation("two and 2", "answer 2")]
    path = write_rows(run.folder / "two_turns.jsonl", [{"id": "t", "messages": messages}])
    run.config["data"]["task"]["init_args"] |= {"test_path": str(path), "exact_match": True}
    for loss_on in ("assistant", "all"):
        run.config["data"]["encoding"]["loss_on"] = loss_on
        assert main(["predict", "--base", "--config", str(run.write())]) == 0
        assert json.loads((run.run_dir / "predictions.jsonl").read_text())["score"] == 1.0
    prompt = (
        "user\ntwo and 1<|im_end|>\n<|im_start|>assistant\nanswer 1<|im_end|>\n<|im_start|>user\ntwo and 2<|im_end|>\n"
    )
    assert asked == [f"<|im_start|>{prompt}<|im_start|>assistant\n"] * 2


LATE_TASK = """
from grsap.data import ConversationDataModule


class LateTask(ConversationDataModule):
    def setup(self, stage):
        self.ready = [{"id": "a", "messages": [
            {"role": "user", "content": "two and 1"}, {"role": "assistant", "content": "answer 1"}]}]

    def rows(self, split):
        return self.ready
"""


def test_predict_lets_a_task_load_its_rows_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(self: object, requests: list[GenerationRequest], settings: SamplingSettings) -> list[Generation]:
        return [Generation(each.id, "answer 1", (1,), "stop") for each in requests]

    monkeypatch.setattr(ModelGenerator, "generate", generate)
    (run.folder / "late_task_in_cwd.py").write_text(LATE_TASK)
    monkeypatch.chdir(run.folder)
    run.config["data"]["task"] = {"class_path": "late_task_in_cwd.LateTask"}
    assert main(["predict", "--base", "--config", str(run.write())]) == 0


def test_predict_needs_rows(run: Run, no_weights: None, error_of: Callable[[], str]) -> None:
    assert main(["predict", "--config", str(run.write())]) == 2
    assert error_of() == "error: JSONLTask.rows('test') gives no row. Give data.task rows of the split test."
