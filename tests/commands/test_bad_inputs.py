"""What a user may get wrong: a message with key, file or row and the remedy, exit code 2, and no weights loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.commands.conftest import Run, conversation, probe_rows, replay_rows, task_rows, write_rows

from grsap.files import folder_lock

pytestmark = pytest.mark.usefixtures("no_weights")


@pytest.fixture
def fails(run: Run, error_of: Callable[[], str]) -> Callable[..., str]:
    """Run `fit`, check that it ends as a user's error should, and give the message."""

    def fit(*words: str) -> str:
        code = run.fit(*words)
        message = error_of()
        assert code == 2, message
        assert "Traceback" not in message
        assert message.startswith("error: ")
        return message.removeprefix("error: ")

    return fit


def test_missing_config(error_of: Callable[[], str]) -> None:
    from grsap.cli import main

    assert main(["fit", "--config", "no/such.yaml"]) == 2
    assert error_of() == "error: --config no/such.yaml: no such file. Paths are taken from the working directory."


def test_broken_yaml(run: Run, fails: Callable[..., str]) -> None:
    broken = run.folder / "broken.yaml"
    broken.write_text("model:\n  base: {path: [}\n")
    assert fails("--config", str(broken)).startswith(f"--config {broken}, line 2: not YAML: ")


def test_missing_task_file(run: Run, fails: Callable[..., str]) -> None:
    run.config["data"]["task"]["init_args"]["train_path"] = "no/such.jsonl"
    assert fails().startswith("data.task.init_args.train_path no/such.jsonl: no such file. Check the path")


def test_broken_line(run: Run, fails: Callable[..., str]) -> None:
    path = run.folder / "task.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = '{"messages": ['
    path.write_text("\n".join(lines))
    assert fails().startswith(f"{path}, line 3: not JSON (")


def test_unknown_role(run: Run, fails: Callable[..., str]) -> None:
    rows = task_rows()
    rows[4]["messages"][0]["role"] = "human"
    path = write_rows(run.folder / "task.jsonl", rows)
    message = fails()
    assert message == f"{path}, line 5: turn 1 has the unknown role 'human'. Use one of system, user, assistant."


def test_wrong_key_in_config(run: Run, fails: Callable[..., str]) -> None:
    run.config["model"]["base"]["quantisation"] = "nf4"
    remedy = "Did you mean model.base.quantization? All settings: grsap fit --print_config."
    assert fails() == f"--config {run.path}: model.base.quantisation is not a setting. {remedy}"


def test_wrong_key_at_the_top(run: Run, fails: Callable[..., str]) -> None:
    run.config["modle"] = run.config.pop("model")
    assert fails().startswith(f"--config {run.path}: modle is not a setting. Did you mean model?")


def test_wrong_key_of_a_class(run: Run, fails: Callable[..., str]) -> None:
    run.config["data"]["sampler"]["init_args"]["ratio"] = 0.1
    assert fails().startswith("data.sampler: grsap.data.RatioSampler: ratio is not one of its arguments.")


def test_wrong_key_on_the_command_line(fails: Callable[..., str]) -> None:
    message = fails("--data.batching.global_batchsize=4")
    remedy = "Did you mean data.batching.global_batch_size? All settings: grsap fit --print_config."
    assert message == f"--data.batching.global_batchsize is not an option of grsap fit. {remedy}"


def test_wrong_value(fails: Callable[..., str]) -> None:
    assert fails("--model.base.quantization=nf5").startswith("model.base.quantization: Expected a Literal['nf4', 'fp4'")


def test_settings_that_a_library_refuses(run: Run, fails: Callable[..., str]) -> None:
    run.config["model"]["lora"] = {"target_modules": "all-linear", "layers_to_transform": [1]}
    assert fails() == (
        "LoraConfig rejects its settings: `layers_to_transform` cannot be used when `target_modules` is a str. "
        "Change them; --debug shows where."
    )


def test_two_checks_that_would_write_the_same_files(run: Run, fails: Callable[..., str]) -> None:
    check = {"class_path": "HarmfulnessCheck", "init_args": {"probes": str(run.folder / "probes.jsonl")}}
    run.config["trainer"]["callbacks"] = [check, check]
    assert fails() == (
        "trainer.callbacks has HarmfulnessCheck and HarmfulnessCheck, which would write the same files. "
        "Give one; its probes may have several subsets."
    )


def test_missing_setting(run: Run, fails: Callable[..., str]) -> None:
    del run.config["model"]["base"]["path"]
    assert fails().startswith("model.base.path: not set, and it must be (str).")


def test_empty_replay(run: Run, fails: Callable[..., str]) -> None:
    path = write_rows(run.folder / "replay.jsonl", [])
    assert str(path) in fails()


def test_ratio_out_of_range(run: Run, fails: Callable[..., str]) -> None:
    run.config["data"]["sampler"]["init_args"]["replay_ratio"] = 1.5
    assert fails() == "data.sampler.init_args.replay_ratio is 1.5. Give the share of replay rows, in [0, 1]."


def test_model_without_template(run: Run, tiny_base_path: Path, fails: Callable[..., str]) -> None:
    bare = run.folder / "bare"
    bare.mkdir()
    for file in tiny_base_path.iterdir():
        if "chat_template" not in file.name:
            (bare / file.name).write_bytes(file.read_bytes())
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    run.config["model"]["base"]["path"] = str(bare)
    assert "has no chat template. " in fails()


def test_missing_model(run: Run, fails: Callable[..., str]) -> None:
    run.config["model"]["base"]["path"] = "./no_model"
    assert fails().startswith("model.base.path ./no_model is no model folder (no config.json).")


def test_unwritable_run_folder(run: Run, fails: Callable[..., str]) -> None:
    (run.folder / "file").write_text("")
    place = run.folder / "file" / "run"  # a folder below a file cannot be made, not even by root
    assert (
        fails("--run_dir", str(place))
        == f"run_dir {place} cannot be written: Not a directory. Choose another with --run_dir."
    )


def test_second_run_in_the_same_folder(run: Run, fails: Callable[..., str]) -> None:
    with folder_lock(run.run_dir):
        message = fails()
    assert message.startswith(f"run_dir {run.run_dir} is in use by process {os.getpid()}.")
    assert not (run.run_dir / "config.yaml").exists()


def test_folder_with_something_else(run: Run, fails: Callable[..., str]) -> None:
    run.run_dir.mkdir()
    (run.run_dir / "thesis.tex").write_text("")
    assert (
        fails()
        == f"run_dir {run.run_dir} is not empty and holds no run of grsap. Choose an empty folder with --run_dir."
    )


def test_prompts_longer_than_the_limit(run: Run, fails: Callable[..., str]) -> None:
    rows = [{"id": f"t{n}", "messages": conversation("word " * 400, "short")} for n in range(8)]
    write_rows(run.folder / "task.jsonl", rows)
    assert "longer than encoding.max_length 256. Raise max_length; the longest row has" in fails()


def test_probes_longer_than_the_limit(run: Run, fails: Callable[..., str]) -> None:
    rows = probe_rows()
    rows[1]["messages"][0]["content"] = "word " * 800
    path = write_rows(run.folder / "probes.jsonl", rows)
    run.config["trainer"]["callbacks"] = [{"class_path": "HarmfulnessCheck", "init_args": {"probes": str(path)}}]
    message = fails()
    assert message.startswith(f"{path}: probe twin has ")
    assert "more than the limit of" in message


def test_missing_probes(run: Run, fails: Callable[..., str]) -> None:
    run.config["trainer"]["callbacks"] = [
        {"class_path": "HarmfulnessCheck", "init_args": {"probes": "no/probes.jsonl"}}
    ]
    assert fails().startswith("no/probes.jsonl: no such file.")


def test_a_failed_start_does_not_take_the_folder(run: Run, fails: Callable[..., str]) -> None:
    path = write_rows(run.folder / "replay.jsonl", [])
    assert str(path) in fails()
    write_rows(path, replay_rows())
    assert fails("--model.base.chat_template=no/such.jinja").startswith("model.base.chat_template")
    assert not run.run_dir.exists()
