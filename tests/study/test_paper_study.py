"""The paper's studies: the plan for the real models without the network, and a whole table with small models."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.evaluation.test_carried_benchmarks import ROWS
from tests.faults.cases import PARTS
from tests.importing.test_presets import ROWS as SAFETY_ROWS
from tests.study.test_shipped_studies import RECIPES, parsed, planned

from grsap.cli import main

TABLES = (
    "table_main",
    "table_original",
    "table_ratio",
    "table_course",
    "table_seeds",
    "table_variants",
    "table_similarity",
)
ROOT = Path(__file__).parents[2]


def test_the_main_table_has_each_model_task_and_replay_set() -> None:
    stages = planned("paper/study.yaml", "paper/table_main.yaml")
    verbs = [stage.verb for stage in stages]
    counts = {verb: verbs.count(verb) for verb in set(verbs)}
    assert counts == {"synthesize": 4, "curate": 4, "import": 4, "fit": 4 * 5 * 6, "evaluate": 4 * 5}


@pytest.mark.parametrize("table", TABLES)
def test_each_run_has_the_papers_number_of_rows(table: str) -> None:
    for stage in planned("paper/study.yaml", f"paper/{table}.yaml"):
        if stage.verb == "fit":
            expected = {"medqa": 9216, "hellaswag": 10240, "winogrande": 10240}.get(stage.name.split("/")[3], 7168)
            assert stage.settings["data"]["sampler"]["init_args"]["num_rows"] == expected


def test_the_course_keeps_all_checkpoints() -> None:
    stages = {stage.name: stage for stage in planned("paper/study.yaml", "paper/table_course.yaml")}
    assert set(stages) == {
        "synthesize/llama3_8b",
        "curate/llama3_8b",
        "fit_course/paper/llama3_8b/gsm8k/none",
        "fit_course/paper/llama3_8b/gsm8k/gr_sap",
        "course/paper/llama3_8b/gsm8k",
    }
    (callback,) = stages["fit_course/paper/llama3_8b/gsm8k/none"].settings["trainer"]["callbacks"]
    assert callback["init_args"] == {"every_n_steps": 32, "keep_last": 16}  # 10,240 rows are 10 checkpoints
    for subject in stages["course/paper/llama3_8b/gsm8k"].settings["subjects"]:
        assert subject["init_args"]["checkpoints"] is True


def test_seeds_of_plain_fine_tuning_and_of_replay() -> None:
    stages = planned("paper/study.yaml", "paper/table_seeds.yaml")
    fits = [(stage.name.split("/", 4)[-1], stage.settings) for stage in stages if stage.verb == "fit"]
    assert sorted((name, each["seed_everything"], each["data"]["replay"] is None) for name, each in fits) == [
        (f"{replay}/{seed}", seed, replay == "none") for replay in ("gr_sap", "none") for seed in (0, 1, 2)
    ]
    evaluations = [stage for stage in stages if stage.verb == "evaluate"]
    assert [len(stage.settings["subjects"]) for stage in evaluations] == [2, 2, 2]


def test_the_variants_differ_from_the_published_run_in_one_setting() -> None:
    stages = {stage.name: stage for stage in planned("paper/study.yaml", "paper/table_variants.yaml")}
    rows = {"curate": "runs/any/curate/llama3_8b/replay.jsonl", "user": "runs/any/curate_user/llama3_8b/replay.jsonl"}
    expected = {
        "include": (rows["curate"], "total", 0.5),
        "exclude": (rows["curate"], "total", 0.0),
        "hard_25": (rows["curate"], "total", 0.25),
        "hard_75": (rows["curate"], "total", 0.75),
        "hard_100": (rows["curate"], "total", 1.0),
        "downstream": (rows["curate"], "downstream", 0.5),
        "user": (rows["user"], "total", 0.5),
    }
    for variant, values in expected.items():
        for seed in (0, 1, 2):
            stage = stages.pop(f"fit_variant/paper/llama3_8b/gsm8k/{variant}/{seed}")
            sampler = stage.settings["data"]["sampler"]["init_args"]
            assert (stage.settings["data"]["replay"]["path"], sampler["control"], sampler["hard_share"]) == values
            assert stage.settings["seed_everything"] == seed
            assert stage.needs == (f"curate{'_user' if variant == 'user' else ''}/llama3_8b",)
    assert sorted(stages) == [
        "curate/llama3_8b",
        "curate_user/llama3_8b",
        *(f"evaluate_variant/paper/llama3_8b/gsm8k/{seed}" for seed in range(3)),
        "synthesize/llama3_8b",
        "synthesize_user/llama3_8b",
    ]
    elicited, curated = stages["synthesize_user/llama3_8b"], stages["curate_user/llama3_8b"]
    assert elicited.configs == ("embedded:configs/synthesis/paper_user.yaml",)
    assert curated.settings["input"] == "runs/any/synthesize_user/llama3_8b"
    assert curated.settings["filters"] == stages["curate/llama3_8b"].settings["filters"]


def test_mauve_of_the_public_sets() -> None:
    stages = {stage.name: stage for stage in planned("paper/study.yaml", "paper/table_similarity.yaml")}
    for name in ("aegis2", "beavertails", "pku_saferlhf"):
        stage = stages[f"similarity_public/{name}"]
        assert stage.configs == ("embedded:configs/similarity/paper.yaml",)
        assert stage.settings == {
            "curated": f"runs/any/import/{name}/replay.jsonl",
            "reference": "runs/any/import/tulu_safety/replay.jsonl",
        }
        assert stage.needs == (f"import/{name}", "import/tulu_safety")
    assert len(stages) == 4 + 3 + 3  # imports, public sets, and synthesis, curation and similarity of GR-SAP


@pytest.mark.slow
def test_each_stage_of_the_paper_parses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes = {
        "preset": ["paper", "paper-qlora"],
        "task": ["gsm8k", "math", "medqa", "hellaswag", "winogrande", "alpaca", "sst2"],
    }
    seen: set[str] = set()
    for table in TABLES:
        for stage in planned("paper/study.yaml", f"paper/{table}.yaml", axes=axes):
            fragments = {*stage.configs, stage.name.split("/")[0]}
            if fragments <= seen:
                continue
            seen |= fragments
            found = parsed(stage, tmp_path, capsys)
            if stage.verb == "fit":
                sampler = found["data"]["sampler"]["init_args"]
                assert sampler["num_rows"] in (7168, 9216, 10240)
                assert (sampler["replay_ratio"] == 0) == (found["data"]["replay"] is None)
                assert found["model"]["base"]["path"].count("/") == 1
                full = found["model"]["lora"] is None
                assert found["data"]["encoding"]["loss_on"] == ("all" if full else "assistant")
                assert found["model"]["base"]["quantization"] == ("none" if full else "nf4")
    assert sum(name.startswith("embedded:configs/recipes/paper/") for name in seen) == 2 + 4 + 7 + 6


@pytest.mark.slow
def test_the_plan_for_the_real_models_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    words = ["--config", "embedded:configs/recipes/paper/study.yaml"]
    words += ["--config", "embedded:configs/recipes/paper/table_ratio.yaml", "--dry-run"]
    assert main(["study", *words]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (fit,) = [line for line in lines if line[:1] == ["fit_ratio/paper/llama3_8b/gsm8k/0.1"]]
    assert fit[2] == f"{7168 * 250:,}"
    # 8.03e9 parameters of 16 bytes each are 119.7 GiB; activations of 4,096 tokens and the logits come on top.
    assert 119.7 < float(fit[-3]) < 140
    assert main(["study", *words, "--axes.preset", "[paper-qlora]"]) == 0
    qlora = [line.split() for line in capsys.readouterr().out.splitlines()]
    (fit,) = [line for line in qlora if line[:1] == ["fit_ratio/paper-qlora/llama3_8b/gsm8k/0.1"]]
    assert float(fit[-3]) < 20
    assert list(tmp_path.iterdir()) == []


def stand_in(value: Any, base: str) -> Any:
    """The study with small models, guards and thresholds that fit them; data sets keep their names and columns."""
    if isinstance(value, list):
        return [stand_in(item, base) for item in value]
    if not isinstance(value, dict):
        return value
    kind, arguments = value.get("class_path"), value.get("init_args", {})
    if kind == "WildGuardJudge":
        return {"class_path": "fault_parts.RefusalJudge"}
    if kind == "LlamaGuardJudge":
        return {"class_path": "RefusalMatcher"}
    if kind == "SentenceTransformerEmbedder":
        return {"class_path": "MiniLMEmbedder"}
    if kind == "VLLMGenerator":
        return {"class_path": "fault_parts.Places", "init_args": {"path": base}}
    if kind == "TransformersGenerator":
        return {"class_path": kind, "init_args": {"base": {"path": base, "quantization": "none"}}}
    if kind == "DomainRelevance":
        return {"class_path": kind, "init_args": {**arguments, "min_cosine": 0.1}}
    if kind == "SemanticDeduplication":
        return {"class_path": kind, "init_args": {"max_cosine": 0.9999}}
    if "max_new_tokens" in value:
        return {**value, "max_new_tokens": 4}
    return {key: stand_in(child, base) for key, child in value.items()}


def data_set(folder: Path, name: str, split: str, rows: list[dict[str, Any]], config: str = "default") -> None:
    """Write a folder that `datasets` reads by the name of a data set on the Hub."""
    place = folder / name / config
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [{"split": path.stem, "path": f"{config}/{path.name}"} for path in sorted(place.iterdir())]
    header = yaml.safe_dump({"configs": [{"config_name": config, "data_files": files}]})
    (folder / name / "README.md").write_text(f"---\n{header}---\n")


def stand_in_study(folder: Path, base: Path) -> list[str]:
    """Write all files into the working directory; return the words of the command."""
    shutil.copy(PARTS, folder / "fault_parts.py")
    shutil.copytree(base, folder / "org" / "Tiny")
    gsm8k = [{"question": f"{n} and {n}?", "answer": f"It is {2 * n}.\n#### {2 * n}"} for n in range(24)]
    data_set(folder, "openai/gsm8k", "train", gsm8k, "main")
    data_set(folder, "openai/gsm8k", "test", gsm8k[:6], "main")
    tested = [{**row, "category": {"theft": not row["is_safe"]}} for row in ROWS["beavertails"]]
    data_set(folder, "PKU-Alignment/BeaverTails", "30k_test", tested)
    data_set(folder, "PKU-Alignment/BeaverTails", "330k_train", SAFETY_ROWS["beavertails"])
    data_set(folder, "allenai/wildguardmix", "test", ROWS["wildguardtest"], "wildguardtest")
    study = yaml.safe_load((RECIPES / "paper/study.yaml").read_text())
    table = yaml.safe_load((RECIPES / "paper/table_main.yaml").read_text())
    study = stand_in(copy.deepcopy(study), "org/Tiny")
    fit = yaml.safe_load((RECIPES / "paper/preset/paper-qlora.yaml").read_text())
    fit["model"]["base"] = {"path": "any", "quantization": "none"}
    fit["model"]["lora"] |= {"r": 2}
    fit["model"]["optimizer"]["class_path"] = "torch.optim.AdamW"
    fit["data"]["batching"]["global_batch_size"] = 4
    fit["trainer"] |= {"accelerator": "cpu", "max_steps": 3}
    (folder / "preset.yaml").write_text(yaml.safe_dump(fit))
    (folder / "model.yaml").write_text("model: {base: {path: org/Tiny}}\n")
    for stage in study["stages"]:
        names = {"preset/{preset}": "preset.yaml", "model/{model}": "model.yaml"}
        stage["configs"] = [
            next((file for part, file in names.items() if part in config), config)
            for config in stage.get("configs", [])
        ]
        if stage["verb"] == "synthesize":
            stage["settings"] |= {"domain_names": ["theft", "weapons"], "quota": {"num_per_domain": 12}}
        if stage["verb"] == "evaluate":
            kept = ("wildguardtest", "beavertails", "{task.benchmark}")
            stage["settings"]["benchmarks"] = [each for each in stage["settings"]["benchmarks"] if each in kept]
    table["axes"] |= {"model": ["llama3_8b"], "task": ["gsm8k"], "replay": ["none", "gr_sap", "beavertails"]}
    table["axes"]["public"] = ["beavertails"]
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    # The figures look for the paper's judge by its name.
    (folder / "table.yaml").write_text(yaml.safe_dump(table).replace("*[wW]ild*", "refusals"))
    words = ["study", "--config", "study.yaml", "--config", "table.yaml"]
    return [sys.executable, "-m", "grsap", *words]


def finish(folder: Path, command: list[str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",
    }


@pytest.mark.slow
def test_a_table_with_small_models_killed_in_the_middle(tmp_path: Path, tiny_base_path: Path) -> None:
    command = stand_in_study(tmp_path, tiny_base_path)
    study = tmp_path / "runs" / "paper"
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    fit = study / "fit" / "paper" / "llama3_8b" / "gsm8k"
    deadline = time.monotonic() + 900
    while process.poll() is None and not (fit / "gr_sap" / "config.yaml").is_file():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in study.rglob(".study.json")}
    assert {path.parent.relative_to(study).as_posix() for path in before} >= {
        "synthesize/llama3_8b",
        "curate/llama3_8b",
    }

    shown = finish(tmp_path, command)
    assert f"7 stages are done: {7 - len(before)} now, {len(before)} before." in shown
    assert {path: path.stat().st_mtime_ns for path in before} == before
    results = json.loads((study / "study.json").read_text())
    assert [each["name"] for each in results["stages"]] == [
        "fit/paper/llama3_8b/gsm8k/none",
        "synthesize/llama3_8b",
        "curate/llama3_8b",
        "fit/paper/llama3_8b/gsm8k/gr_sap",
        "import/beavertails",
        "fit/paper/llama3_8b/gsm8k/beavertails",
        "evaluate/paper/llama3_8b/gsm8k",
    ]
    figures = {each["name"]: each for each in results["figures"]}
    plain = figures["Llama-3-8B, harm, mean of tasks and benchmarks, no replay"]
    assert (plain["published"], plain["num_rows"]) == (0.0628, 2)  # BeaverTails and WildGuardTest
    assert 0 <= plain["low"] <= plain["value"] <= plain["high"] <= 1.2
    assert figures["Mistral-7B, harm, GR-SAP"]["value"] is None
    assert (study / "report.html").is_file()
    assert "0.0628" in shown

    assert "7 stages are done: 0 now, 7 before." in finish(tmp_path, command)
