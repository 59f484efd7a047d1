"""Each file under configs/: it parses by the real parser, what it names exists, and recipes run on the tiny model."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from grsap.cli import main
from grsap.embedded import PREFIX, resolve
from grsap.evaluation import load_benchmark
from grsap.models.embedded_model import PACKAGED_MODELS

CONFIGS = Path(__file__).parents[1] / "configs"
STUDY_KEYS = {"stages", "axes", "goals"}  # tests/study runs and parses what has them
RECIPES = sorted((CONFIGS / "recipes").glob("*.yaml"))
BENCHMARKS = sorted((CONFIGS / "benchmarks").glob("*.yaml"))
STUDIES = sorted(
    path for path in (CONFIGS / "recipes").glob("*/*.yaml") if STUDY_KEYS & set(yaml.safe_load(path.read_text()))
)
FRAGMENTS = sorted(set(CONFIGS.rglob("*.yaml")) - set(RECIPES) - set(BENCHMARKS) - set(STUDIES))
MAX_FRAGMENT_LINES = 25

BASE = """
run_dir: runs/any
model: {base: {path: any/model}, lora: {r: 2}}
data:
  task: {class_path: JSONLTask, init_args: {train_path: any.jsonl}}
  replay: {path: any_replay.jsonl}
  sampler: {class_path: ProportionalSampler}
"""


SYNTHESIS_BASE = """
output_dir: runs/any
generator: {class_path: TransformersGenerator, init_args: {base: {path: any/model}}}
quota: {num_per_domain: 1}
"""


EVALUATION_BASE = """
output_dir: runs/any
subjects: [{class_path: RunSubjects, init_args: {run_dir: runs/any}}]
benchmarks: [quickstart_probes]
"""

IMPORT_BASE = """
output_dir: runs/any
source: {path: any.jsonl}
"""

CURATION_BASE = """
output_dir: runs/any
input: runs/raw
filters: [{class_path: Completeness}]
"""

SIMILARITY_BASE = """
output_dir: runs/any
curated: any_replay.jsonl
"""

BASES = {
    "import": IMPORT_BASE,
    "fit": BASE,
    "synthesize": SYNTHESIS_BASE,
    "curate": CURATION_BASE,
    "evaluate": EVALUATION_BASE,
    "similarity": SIMILARITY_BASE,
}


def verb_of(path: Path) -> str:
    """The verb that a file is for, told by its keys."""
    content = yaml.safe_load(path.read_text())
    keys = set(content)
    if keys & {"columns", "source"}:
        return "import"
    if keys & {"subjects", "judges", "num_samples", "lm_eval_tasks", "surprise"}:
        return "evaluate"
    if "filters" in keys:
        return "curate"
    if keys & {"reference", "max_rows"} or "class_path" in content.get("model", {}):
        return "similarity"
    return "synthesize" if keys & {"elicitation", "quota", "response_sampling"} else "fit"


FIT_RECIPES = [path for path in RECIPES if verb_of(path) == "fit"]
EVALUATION_RECIPES = [path for path in RECIPES if verb_of(path) == "evaluate"]
CURATION_RECIPES = [path for path in RECIPES if verb_of(path) == "curate"]
SIMILARITY_RECIPES = [path for path in RECIPES if verb_of(path) == "similarity"]
SYNTHESIS_RECIPES = [path for path in RECIPES if verb_of(path) == "synthesize"]


def parametrize(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", files, ids=lambda path: str(path.relative_to(CONFIGS)))


def printed(capsys: pytest.CaptureFixture[str], verb: str, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    code = main([verb, *words, "--print_config"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    config: dict[str, Any] = yaml.safe_load(captured.out)
    return config


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of what a config sets."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from leaves(child, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value:
        for number, child in enumerate(value):
            yield from leaves(child, f"{prefix}[{number}]")
    else:
        yield prefix, value


def test_there_are_configs() -> None:
    kinds = {path.relative_to(CONFIGS).parts[0] for path in FRAGMENTS}
    stages = {"import", "synthesis", "curation", "evaluation", "similarity"}
    assert kinds == {"model", "data", "objectives", "trainer", "callbacks", "judges", "recipes"} | stages
    assert {path.parent.name for path in STUDIES} == {"how_to_study", "paper", "paper_mini"}
    names = {path.stem for path in RECIPES}
    assert {"quickstart", "quickstart_plain", "quickstart_align", "quickstart_align_nf4"} <= names
    assert {"quickstart_synthesize", "quickstart_curate", "quickstart_own_replay", "quickstart_evaluate"} <= names
    assert {"qlora_1gpu", "qlora_ddp"} <= names


@parametrize(RECIPES)
def test_a_recipe_parses(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = printed(capsys, verb_of(path), "--config", str(path))
    assert config["run_dir" if verb_of(path) == "fit" else "output_dir"] == f"runs/{path.stem}"
    assert_set(yaml.safe_load(path.read_text()), config)


@parametrize(FRAGMENTS)
def test_a_fragment_parses_on_top_of_a_run(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FRAGMENT_LINES
    base = tmp_path / "base.yaml"
    base.write_text(BASES[verb_of(path)])
    config = printed(capsys, verb_of(path), "--config", str(base), "--config", str(path))
    assert_set(yaml.safe_load(path.read_text()), config)


def assert_set(given: dict[str, Any], printed_config: dict[str, Any]) -> None:
    """All that a file says stands in the configuration; classes by their full name."""
    found = {key.replace("init_args.", ""): value for key, value in leaves(printed_config)}
    for key, value in leaves(given):
        key = key.replace("init_args.", "")
        if key.endswith("class_path"):
            assert found[key].rpartition(".")[2] == str(value).rpartition(".")[2]
        elif key not in found and f"{key}.class_path" in found:
            assert found[f"{key}.class_path"].rpartition(".")[2] == value  # a class given by its name alone
        else:
            assert found[key] == value, key


@parametrize(BENCHMARKS)
def test_a_benchmark_is_sound(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FRAGMENT_LINES
    spec = load_benchmark(path.stem)
    assert spec.name == path.stem
    spec.check()


@parametrize(RECIPES + FRAGMENTS + BENCHMARKS)
def test_embedded_files_exist(path: Path) -> None:
    for key, value in leaves(yaml.safe_load(path.read_text())):
        if isinstance(value, str) and value.startswith(PREFIX):
            name = value.removeprefix(PREFIX)
            assert name in PACKAGED_MODELS or resolve(value).exists(), key


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    path = tmp_path / "task.jsonl"
    rows = [{"prompt": f"two and {n}", "response": f"answer {n}"} for n in range(24)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tiny(config: dict[str, Any], base: Path, task_file: Path, run_dir: Path) -> dict[str, Any]:
    """The recipe on the tiny model on this machine, for two steps; all else stays."""
    config = copy.deepcopy(config)
    config["run_dir"] = str(run_dir)
    config["model"]["base"] |= {"path": str(base), "merge_adapter": None, "skip_modules": None}
    config["model"]["lora"].pop("layers_to_transform", None)  # it has two layers
    config["data"]["batching"] = {"global_batch_size": 8, "max_tokens_per_micro_batch": 1024}
    config["data"]["encoding"] = {"max_length": 1024}
    config["data"]["num_workers"] = 0
    if config["data"]["replay"] and not config["data"]["replay"]["path"].startswith(PREFIX):  # made by another recipe
        config["data"]["replay"] = {"path": "embedded:quickstart/replay.jsonl"}
    if config["data"]["task"]["class_path"] == "JSONLTask":
        config["data"]["task"]["init_args"]["train_path"] = str(task_file)
    config["trainer"] |= {"accelerator": "cpu", "devices": 1, "strategy": "auto", "max_steps": 2, "max_epochs": 1}
    for callback in config["trainer"]["callbacks"]:
        arguments = callback["init_args"]
        if "sampling" in arguments or callback["class_path"] in ("HarmfulnessCheck", "TaskScoreCheck"):
            arguments["sampling"] = {"max_new_tokens": 2}
    if config["model"]["optimizer"]["class_path"].startswith("bitsandbytes"):
        config["model"]["optimizer"]["class_path"] = "torch.optim.AdamW"  # the 8-bit one needs CUDA
    return config


@parametrize(FIT_RECIPES)
def test_a_recipe_runs(path: Path, tmp_path: Path, tiny_base_path: Path, task_file: Path) -> None:
    config = tiny(yaml.safe_load(path.read_text()), tiny_base_path, task_file, tmp_path / "run")
    file = tmp_path / path.name
    file.write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(file)]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["num_steps"]) == ("finished", 2)
    # 16 rows in all, of which int(ratio x 16) are replay; under `downstream` the share is r / (1 + r).
    sampler = config["data"]["sampler"]["init_args"]
    ratio = sampler["replay_ratio"]
    share = ratio / (1 + ratio) if sampler.get("control") == "downstream" else ratio
    assert summary["replay_ratio_seen"] == pytest.approx(int(share * 16 + 1e-9) / 16)
    names = [callback["class_path"] for callback in config["trainer"]["callbacks"]]
    assert (summary["before"]["harmfulness_rate"] is None) == ("HarmfulnessCheck" not in names)
    assert summary["after"]["refusal_rate"]["num_prompts"] >= 60


@parametrize(SYNTHESIS_RECIPES)
def test_a_synthesis_runs(path: Path, tmp_path: Path, tiny_base_path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    config["generator"]["init_args"]["base"] |= {
        "path": str(tiny_base_path),
        "merge_adapter": None,
        "skip_modules": None,
    }
    for name in ("query_sampling", "response_sampling"):
        config[name]["max_new_tokens"] = 4
    file = tmp_path / path.name
    file.write_text(yaml.safe_dump(config))
    words = ["--output_dir", str(tmp_path / "raw"), "--quota.max_attempts", "1", "--domain_names", "[theft, weapons]"]
    code = main(["synthesize", "--config", str(file), *words])
    manifest = json.loads((tmp_path / "raw" / "manifest.json").read_text())
    total = manifest["counts"]["total"]
    num_slots = 2 * int(config["quota"]["num_per_domain"] * (1 + config["quota"].get("benign_share", 0)))
    assert (manifest["status"], total["num_asked"]) == ("complete", num_slots)
    unusable = sum(total["num_unusable"].values()) - total["num_unusable"].get("empty_response", 0)
    assert total["num_usable"] + unusable == num_slots
    # What a random model writes is a query now and then; without any row the command says so.
    assert code == (0 if total["num_rows"] else 2)


@parametrize(CURATION_RECIPES)
def test_a_curation_runs(path: Path, tmp_path: Path, tiny_base_path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    for each in config["filters"]:
        for model in ("model", "generator"):
            if model in each.get("init_args", {}):
                base = {"path": str(tiny_base_path), "merge_adapter": None, "skip_modules": None}
                each["init_args"][model]["init_args"]["base"] |= base
        if "sampling" in each.get("init_args", {}):
            each["init_args"]["sampling"]["max_new_tokens"] = 4
    file = tmp_path / path.name
    file.write_text(yaml.safe_dump(config))
    rows = resolve("embedded:quickstart/replay.jsonl").read_text().splitlines()[:40]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "shard-00000.jsonl").write_text("".join(f"{line}\n" for line in rows))
    words = ["--input", str(tmp_path / "raw"), "--output_dir", str(tmp_path / "curated")]
    assert main(["curate", "--config", str(file), *words]) == 0
    manifest = json.loads((tmp_path / "curated" / "manifest.json").read_text())
    assert [step["name"] for step in manifest["steps"]] == [each["class_path"] for each in config["filters"]]
    assert manifest["counts"]["num_replay"] + manifest["counts"]["num_rejected"] == 40
    assert {row["behaviour"] for row in manifest["counts"]["replay"]} >= {"refusal", "benign_answer"}


@parametrize(EVALUATION_RECIPES)
def test_an_evaluation_runs(path: Path, tmp_path: Path, tiny_base_path: Path, task_file: Path) -> None:
    config = yaml.safe_load(path.read_text())
    for source in config["subjects"]:
        name = Path(source["init_args"]["run_dir"]).name
        recipe = yaml.safe_load((CONFIGS / "recipes" / f"{name}.yaml").read_text())
        recipe["trainer"]["callbacks"] = []
        (tmp_path / "fit.yaml").write_text(yaml.safe_dump(tiny(recipe, tiny_base_path, task_file, tmp_path / name)))
        assert main(["fit", "--config", str(tmp_path / "fit.yaml")]) == 0
        source["init_args"]["run_dir"] = str(tmp_path / name)
    config["sampling"]["max_new_tokens"] = config["task_sampling"]["max_new_tokens"] = 2
    (tmp_path / path.name).write_text(yaml.safe_dump(config))
    output = tmp_path / "evaluated"
    assert main(["evaluate", "--config", str(tmp_path / path.name), "--output_dir", str(output)]) == 0
    results = json.loads((output / "evaluation.json").read_text())
    assert [(each["name"], each["role"], each["start"]) for each in results["subjects"]] == [
        ("quickstart/start", "start", None),
        ("quickstart", "final", "quickstart/start"),
        ("quickstart_plain", "final", "quickstart/start"),
    ]
    (marks, *_) = [row for row in results["rates"] if row["metric"] == "task_score"]
    assert (marks["num_prompts"], marks["num_unparsed"]) == (60, 0)
    pairs = [row for row in results["rates"] if row["metric"] == "pair_accuracy"]
    assert [row["num_prompts"] for row in pairs] == [114, 114, 114]
    assert {row["margin"] for row in results["comparisons"]} == {0.1, None}


@parametrize(SIMILARITY_RECIPES)
def test_a_similarity_runs(path: Path, tmp_path: Path, tiny_base_path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    assert resolve(config["reference"]).name == "alignment.jsonl"
    rows = resolve("embedded:quickstart/replay.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "shard-00000.jsonl").write_text("".join(rows[:30]))
    (tmp_path / "replay.jsonl").write_text("".join(rows[:20]))
    (tmp_path / "reference.jsonl").write_text("".join(rows[100:140]))
    config |= {"raw": str(tmp_path / "raw"), "curated": str(tmp_path / "replay.jsonl")}
    config |= {"reference": str(tmp_path / "reference.jsonl")}
    config["model"]["init_args"]["base"] |= {"path": str(tiny_base_path), "merge_adapter": None, "skip_modules": None}
    file = tmp_path / path.name
    file.write_text(yaml.safe_dump(config))
    assert main(["similarity", "--config", str(file), "--output_dir", str(tmp_path / "out")]) == 0
    result = json.loads((tmp_path / "out" / "similarity.json").read_text())
    assert result["num_rows_compared"] == 20
    pairs = {(each["population"], each["against"]) for each in result["measures"]}
    compared = {("raw", "reference"), ("curated", "reference"), ("reference", "itself"), ("model", "reference")}
    assert pairs == compared | {("raw", None), ("curated", None)}
