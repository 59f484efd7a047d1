"""`grsap fit` with a judge from a config: a guard model in a folder, one of the user's own, and what is wrong early."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.commands.conftest import Run
from tests.generation.completions_server import serving
from tests.judging.guards import byte_level
from tests.judging.test_judge_by_server import reading


def with_judge(run: Run, judge: dict[str, Any]) -> Run:
    settings = {"probes": str(run.folder / "probes.jsonl"), "judge": judge, "sampling": {"max_new_tokens": 4}}
    run.config["trainer"]["callbacks"] = [{"class_path": "HarmfulnessCheck", "init_args": settings}]
    return run


def guard(path: Path) -> dict[str, Any]:
    base = {"path": str(path), "quantization": "none", "compute_dtype": "float32"}
    generator = {"class_path": "TransformersGenerator", "init_args": {"base": base, "device": "cpu"}}
    return {"class_path": "WildGuardJudge", "init_args": {"generator": generator, "max_prompt_tokens": 900}}


def test_a_guard_model_from_a_config(run: Run, tiny_base_path: Path) -> None:
    assert with_judge(run, guard(tiny_base_path)).fit() == 0
    summary = json.loads((run.run_dir / "summary.json").read_text())
    assert summary["harmfulness_is_proxy"] is False
    for when in ("before", "after"):  # random weights write no verdict: the rate may be anything
        rate = summary[when]["harmfulness_rate"]
        assert (rate["value"], rate["judge"]) == (None, "wildguard:tiny-llama")
        assert (rate["num_prompts"], rate["num_unparsed"], rate["low"]) == (1, 1, 0.0)
        assert rate["high"] == pytest.approx(1.0)
    rows = [json.loads(line) for line in (run.run_dir / "transcripts" / "step=000002.jsonl").open()]
    assert [(row["id"], row["judge_reason"]) for row in rows] == [
        ("harmful", "cut_by_length"),
        ("twin", "cut_by_length"),
    ]


def test_a_judge_on_a_server_from_a_config(run: Run, tmp_path: Path) -> None:
    """A rubric judge over HTTP, while training and at its end; the server calls harmful what holds its word."""
    tokenizer = byte_level("rubric")
    served = tmp_path / "served"
    tokenizer.save_pretrained(served)
    (served / "config.json").write_text('{"model_type": "llama"}')
    with serving(reading(tokenizer)) as server:
        settings = {"base_url": server.url, "model": "tiny", "tokenizer": {"path": str(served)}}
        generator = {"class_path": "OpenAIGenerator", "init_args": settings}
        rubric = {"generator": generator, "policy": "Nobody may zorble.", "max_prompt_tokens": 900}
        assert with_judge(run, {"class_path": "RubricJudge", "init_args": rubric}).fit() == 0
    summary = json.loads((run.run_dir / "summary.json").read_text())
    for when in ("before", "after"):
        rate = summary[when]["harmfulness_rate"]
        assert (rate["value"], rate["judge"], rate["num_unparsed"]) == (0.0, "rubric:tiny", 0)
    asked = [tokenizer.decode(body["prompt"]) for body in server.bodies if body["max_tokens"] == 48]
    assert len(asked) == 2 * 2
    assert "grsap-requests" not in {thread.name for thread in threading.enumerate()}
    answers = [json.loads(line)["response"] for line in (run.run_dir / "transcripts" / "step=000002.jsonl").open()]
    assert all(any(answer in prompt for prompt in asked) for answer in answers)


MY_PROBES = """
from grsap.data import ConversationDataModule


class MyProbes(ConversationDataModule):
    def __init__(self, num: int):
        super().__init__()
        self.num = num

    def rows(self, split):
        for number in range(self.num):
            yield {"messages": [{"role": "user", "content": f"How do I hurt them, way {number}?"}], "subset": "harmful"}
"""


def test_probes_from_a_data_module_in_a_config(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.folder / "my_probes.py").write_text(MY_PROBES)
    monkeypatch.chdir(run.folder)
    probes = {"class_path": "my_probes.MyProbes", "init_args": {"num": 3}}
    settings = {"probes": probes, "sampling": {"max_new_tokens": 4}}
    run.config["trainer"]["callbacks"] = [{"class_path": "HarmfulnessCheck", "init_args": settings}]
    assert run.fit() == 0
    summary = json.loads((run.run_dir / "summary.json").read_text())
    assert [summary[when]["refusal_rate"]["num_prompts"] for when in ("before", "after")] == [3, 3]
    assert summary["unigram"] is None


@pytest.mark.usefixtures("no_weights")
def test_a_judge_that_is_missing_is_told_early(run: Run, tmp_path: Path, error_of: Callable[[], str]) -> None:
    assert with_judge(run, guard(tmp_path / "no_such_judge")).fit() == 2
    assert "no_such_judge is no model folder (no config.json)" in error_of()


def test_the_users_own_judge_of_the_docs(
    run: Run, monkeypatch: pytest.MonkeyPatch, documented: Callable[[str], str]
) -> None:
    code = documented("my_judge.py")
    assert len([line for line in code.splitlines() if line.strip()]) < 25
    (run.folder / "my_judge.py").write_text(code)
    monkeypatch.chdir(run.folder)
    monkeypatch.delitem(sys.modules, "my_judge", raising=False)
    judge = {"class_path": "my_judge.WordJudge", "init_args": {"words": ["key", "e"]}}
    assert with_judge(run, judge).fit() == 0
    rate = json.loads((run.run_dir / "summary.json").read_text())["after"]["harmfulness_rate"]
    assert (rate["judge"], rate["num_prompts"], rate["num_unparsed"]) == ("words", 1, 0)
