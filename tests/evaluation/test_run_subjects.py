"""Runs of `grsap fit` as subjects: start, checkpoints, end; one base for all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.commands.conftest import Run, run  # noqa: F401 (a fixture)
from tests.evaluation.scripted import RowBenchmark, item

from grsap.cli import main
from grsap.errors import ConfigError, ModelError, RunFolderError
from grsap.evaluation import Engines, Evaluation, ModelSubject, RunSubjects, Subject
from grsap.evaluation.running import run_evaluation
from grsap.generation import SamplingSettings
from grsap.judging import RefusalMatcher
from grsap.models import BaseModel


@pytest.fixture
def trained(run: Run) -> Path:  # noqa: F811
    """A run of three steps of which the first two are checkpoints; the third is its end."""
    run.config["trainer"]["max_epochs"] = 2
    run.config["trainer"]["max_steps"] = 3
    run.config["trainer"]["callbacks"] = [
        {"class_path": "AdapterCheckpoint", "init_args": {"every_n_steps": 1, "keep_last": 5}}
    ]
    run.config["model"]["optimizer"]["init_args"]["lr"] = 0.05
    assert run.fit() == 0
    return run.run_dir


def found(*sources: Any, said: list[str] | None = None) -> list[Subject]:
    engines = Engines("cpu")
    return [subject for source in sources for subject in source.subjects(engines, (said or []).append)]


def test_a_run_is_its_start_its_checkpoints_and_its_end(trained: Path) -> None:
    subjects = found(RunSubjects(str(trained)))
    assert [(each.name, each.role, each.step, each.start) for each in subjects] == [
        ("run/start", "start", 0, None),
        ("run/step=000001", "checkpoint", 1, "run/start"),
        ("run/step=000002", "checkpoint", 2, "run/start"),
        ("run", "final", 3, "run/start"),
    ]
    assert len({id(each.generator) for each in subjects}) == 1
    assert len({each.hash for each in subjects}) == 4
    assert subjects[-1].replay_path == str(trained.parent / "replay.jsonl")
    names = [each.name for each in found(RunSubjects(str(trained), checkpoints=False, name="mine"))]
    assert names == ["mine/start", "mine"]


def test_the_training_dynamic_on_one_load(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All subjects are answered for with weights loaded once; two runs share a start; a second call loads nothing."""
    loads = []
    load = BaseModel.load
    monkeypatch.setattr(BaseModel, "load", lambda self, device: loads.append(1) or load(self, device))
    twin = tmp_path / "twin"
    shutil.copytree(trained, twin)
    items = [item(f"case {letter}", letter in "abc") for letter in "abcdef"]

    def evaluate() -> dict[str, Any]:
        settings = Evaluation(
            [RunSubjects(str(trained)), RunSubjects(str(twin), checkpoints=False)],
            [RowBenchmark(items)],
            [RefusalMatcher()],
            SamplingSettings(6),
            device="cpu",
        )
        settings.check()
        run_evaluation(settings, tmp_path / "out")
        results: dict[str, Any] = json.loads((tmp_path / "out" / "evaluation.json").read_text())
        return results

    results = evaluate()
    assert loads == [1]
    assert [each["name"] for each in results["subjects"]] == [
        "run/start",
        "run/step=000001",
        "run/step=000002",
        "run",
        "twin",
    ]
    assert results["subjects"][-1]["start"] == "run/start"
    files = [each["answers"]["planted"] for each in results["subjects"]]
    assert files[3] == files[4]  # the same weights: nothing was asked twice
    assert len(set(files)) == 4
    responses = [
        [json.loads(line)["response"] for line in (tmp_path / "out" / name).read_text().splitlines()] for name in files
    ]
    assert responses[0] != responses[3]
    assert evaluate() == results
    assert loads == [1]


def test_damaged_checkpoints_are_left_out_and_told(trained: Path) -> None:
    (trained / "checkpoints" / "step=000001" / "trainer.ckpt").write_bytes(b"short")
    said: list[str] = []
    engines = Engines("cpu")
    names = [each.name for each in RunSubjects(str(trained)).subjects(engines, said.append)]
    assert names == ["run/start", "run/step=000002", "run"]
    assert [line.rpartition("/")[2] for line in said] == [
        "step=000001 is left out: trainer.ckpt is truncated or changed"
    ]


def test_an_unfinished_run_ends_at_its_last_checkpoint(trained: Path) -> None:
    shutil.rmtree(trained / "adapter")
    subjects = found(RunSubjects(str(trained)))
    assert [(each.name, each.role) for each in subjects[-2:]] == [
        ("run/step=000002", "checkpoint"),
        ("run/step=000003", "final"),
    ]
    shutil.rmtree(trained / "checkpoints")
    with pytest.raises(RunFolderError, match="has no trained weights"):
        found(RunSubjects(str(trained)))


def test_a_base_that_is_not_the_runs_own_is_an_error(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="cannot be read"):
        found(RunSubjects(str(tmp_path)))
    config = yaml.safe_load((trained / "config.yaml").read_text())
    config["model"]["base"]["quantization"] = "int8"
    (trained / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(RunFolderError, match="is not what it was trained on: quantization changed"):
        found(RunSubjects(str(trained)))
    config["model"]["base"] = {"odd": 1}
    (trained / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(RunFolderError, match=r"no model\.base that this version of grsap reads"):
        found(RunSubjects(str(trained)))


def test_full_fine_tuning_leaves_a_model(run: Run) -> None:  # noqa: F811
    run.config["model"]["lora"] = None
    run.config["trainer"]["max_steps"] = 1
    assert run.fit() == 0
    said: list[str] = []
    subjects = RunSubjects(str(run.run_dir)).subjects(Engines("cpu"), said.append)
    assert [(each.name, each.role, each.adapter) for each in subjects] == [
        ("run/start", "start", None),
        ("run", "final", None),
    ]
    assert subjects[0].generator is not subjects[1].generator
    assert subjects[0].hash != subjects[1].hash
    assert all("full fine-tuning keeps no adapter in it" in line for line in said)


def test_a_model_and_an_adapter_on_it(trained: Path, tiny_base_path: Path) -> None:
    base = BaseModel(str(tiny_base_path), quantization="none", compute_dtype="float32")
    alone = found(ModelSubject(base))
    assert [(each.name, each.role) for each in alone] == [(tiny_base_path.name, "model")]
    pair = found(ModelSubject(base, str(trained / "adapter")))
    assert [(each.name, each.role, each.start) for each in pair] == [
        ("adapter/start", "start", None),
        ("adapter", "final", "adapter/start"),
    ]
    assert alone[0].identity == pair[0].identity
    assert pair[1].hash == found(RunSubjects(str(trained)))[-1].hash
    with pytest.raises(ModelError, match="is no PEFT adapter"):
        found(ModelSubject(base, "nowhere"))


def test_the_command_with_a_reference(
    trained: Path, tiny_base_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"path": str(tiny_base_path), "quantization": "none", "compute_dtype": "float32"}
    config = {
        "subjects": [
            {"class_path": "RunSubjects", "init_args": {"run_dir": str(trained)}},
            {"class_path": "ModelSubject", "init_args": {"base": base, "name": "other"}},
        ],
        "benchmarks": [str(tmp_path / "few.yaml")],
        "sampling": {"max_new_tokens": 2},
        "reference": "run/start",
        "device": "cpu",
    }
    (tmp_path / "few.yaml").write_text("extends: quickstart_probes\nlimit: 30\n")
    (tmp_path / "evaluate.yaml").write_text(yaml.safe_dump(config))
    words = ["evaluate", "--config", str(tmp_path / "evaluate.yaml"), "--output_dir", str(tmp_path / "out")]
    assert main(words) == 0
    table = capsys.readouterr().out
    assert max(len(line) for line in table.splitlines()[:-8]) <= 100
    assert "harmful prompts, % with 95 % intervals" in table
    for heading in ("compliance", "refusal of", "no answer", "over-refusal"):
        assert heading in table
    assert "non-refusal" not in table
    results = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    other = [row for row in results["comparisons"] if row["subject"] == "other"]
    assert {(row["against"], row["verdict"] is None) for row in other if row["metric"] == "compliance_rate"} == {
        ("run/start", False),
        ("run", True),
    }
    same = {row["difference"] for row in other if row["against"] == "run/start"}
    assert same <= {0.0, None}
    # Everything may change in a folder: what is there already is not asked again.
    again = [*words, "--margin", "0.2", "--sampling.max_new_tokens", "3"]
    assert main(again) == 0
    assert len(list((tmp_path / "out" / "answers").iterdir())) == 2 * 4
    config["subjects"].pop()
    config["benchmarks"].append("quickstart_sealed")
    (tmp_path / "evaluate.yaml").write_text(yaml.safe_dump(config))
    assert main([*words, "--stages", "[judge]"]) == 2
    assert "run/start has not answered all prompts of quickstart_sealed" in " ".join(capsys.readouterr().err.split())


def test_the_command_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {
        "subjects": [{"class_path": "RunSubjects", "init_args": {"run_dir": str(tmp_path)}}],
        "benchmarks": ["quickstart_prodes"],
    }
    (tmp_path / "evaluate.yaml").write_text(yaml.safe_dump(config))
    words = ["evaluate", "--config", str(tmp_path / "evaluate.yaml"), "--output_dir", str(tmp_path / "out")]
    assert main(words) == 2
    assert "Did you mean quickstart_probes" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="subjects, benchmarks, judges or stages is empty"):
        Evaluation([], ["quickstart_probes"]).check()
