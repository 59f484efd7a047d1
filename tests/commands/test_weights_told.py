"""Weights that do not fit end each verb with exit code 2 before anything is computed; so does running out of memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tests.commands.conftest import Run
from transformers import AutoModelForCausalLM, GPT2Config, PreTrainedTokenizerFast

from grsap.cli import main
from grsap.generation import TransformersGenerator
from grsap.models import BaseModel
from grsap.training import SafetyFineTuning

ErrorOf = Callable[[], str]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def adapter(tmp_path: Path, tiny_base_path: Path) -> Path:
    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base_path), lora).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def rename(adapter: Path) -> None:
    """As an adapter of a multimodal base calls its tensors."""
    weights = adapter / "adapter_model.safetensors"
    renamed = {key.replace("model.layers", "model.language_model.layers"): t for key, t in load_file(weights).items()}
    save_file(renamed, weights)


def evaluation(folder: Path, base: Path, adapter: Path | None = None) -> list[str]:
    """The command line of an evaluation with one benchmark of one prompt."""
    (folder / "probes.jsonl").write_text('{"q": "two and two", "bad": "no"}\n')
    benchmark = {
        "name": "tiny",
        "kind": "safety",
        "source": {"path": str(folder / "probes.jsonl")},
        "columns": {"prompt": "q"},
        "prompt_harmful": {"column": "bad", "harmful": ["yes"], "harmless": ["no"]},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(benchmark))
    settings = {"path": str(base), "quantization": "none", "compute_dtype": "float32"}
    subject = {"base": settings, "name": "it", **({} if adapter is None else {"adapter": str(adapter)})}
    config = {
        "output_dir": str(folder / "evaluation"),
        "subjects": [{"class_path": "ModelSubject", "init_args": subject}],
        "benchmarks": [str(folder / "tiny.yaml")],
        "sampling": {"max_new_tokens": 4},
    }
    (folder / "evaluate.yaml").write_text(yaml.safe_dump(config))
    return ["evaluate", "--config", str(folder / "evaluate.yaml")]


@pytest.mark.parametrize("words", [("--dry-run",), ()])
def test_fit_refuses_a_merge_adapter_that_matches_nothing(
    run: Run, adapter: Path, no_weights: None, error_of: ErrorOf, words: tuple[str, ...]
) -> None:
    rename(adapter)
    run.config["model"]["base"]["merge_adapter"] = str(adapter)
    assert run.fit(*words) == 2
    assert f"the adapter {adapter}: the tensor base_model.model.model.language_model.layers.0" in error_of()
    assert not run.run_dir.exists()


@pytest.mark.parametrize("words", [("--dry-run",), ()])
def test_fit_refuses_rows_beyond_learned_positions(
    run: Run, no_weights: None, error_of: ErrorOf, tiny_tokenizer: PreTrainedTokenizerFast, words: tuple[str, ...]
) -> None:
    config = GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=512, n_positions=24, bos_token_id=1, eos_token_id=2)
    AutoModelForCausalLM.from_config(config).save_pretrained(run.folder / "gpt2")
    tiny_tokenizer.save_pretrained(run.folder / "gpt2")
    run.config["model"]["base"]["path"] = str(run.folder / "gpt2")
    run.config["model"]["lora"]["target_modules"] = ["c_attn"]
    assert run.fit(*words) == 2
    error = error_of()
    assert "tokens are more than the 24 positions that the model has. Lower data.encoding.max_length" in error
    assert "task.jsonl, line " in error
    assert not run.run_dir.exists()


def test_evaluate_refuses_an_adapter_that_matches_nothing_before_the_start_answers(
    tmp_path: Path, tiny_base_path: Path, adapter: Path, no_weights: None, error_of: ErrorOf
) -> None:
    rename(adapter)
    assert main(evaluation(tmp_path, tiny_base_path, adapter)) == 2
    assert f"the adapter {adapter}: the tensor base_model.model.model.language_model.layers.0" in error_of()
    assert not (tmp_path / "evaluation" / "answers").exists()


def test_an_adapter_that_changed_in_its_folder_is_asked_anew(
    tmp_path: Path, tiny_base_path: Path, adapter: Path
) -> None:
    command = evaluation(tmp_path, tiny_base_path, adapter)
    config = adapter / "adapter_config.json"
    kept: list[int] = []
    for scale in (8, 8, 99):
        config.write_text(json.dumps({**json.loads(config.read_text()), "lora_alpha": scale}))
        assert main(command) == 0
        kept.append(len(list((tmp_path / "evaluation" / "answers").iterdir())))
    assert kept == [2, 2, 3]  # start and adapter; the same; the adapter once more
    base = Path(shutil.copytree(tiny_base_path, tmp_path / "base"))
    shutil.rmtree(tmp_path / "evaluation")
    command = evaluation(tmp_path, base)
    for number in range(2):
        (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 40 + number]}))
        assert main(command) == 0
    assert len(list((tmp_path / "evaluation" / "answers").iterdir())) == 2


CPU_ERROR = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to ..."
ERRORS = [RuntimeError(CPU_ERROR), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError()]


@pytest.mark.parametrize("error", ERRORS, ids=["cpu", "cuda", "python"])
def test_running_out_of_memory_names_what_lowers_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, error_of: ErrorOf, error: Exception
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    settings = ("data.batching.max_tokens_per_micro_batch", "gradient_checkpointing", "model.base.quantization")
    for owner, name in ((SafetyFineTuning, "training_step"), (BaseModel, "load")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            assert run.fit() == 2
        told = error_of()
        assert told.count("error: out of memory: ") == 1
        assert [each for each in settings if each not in told] == []
    monkeypatch.setattr(TransformersGenerator, "stream", fail)
    assert main(evaluation(run.folder, Path(run.config["model"]["base"]["path"]))) == 2
    assert "max_batch_tokens (in generation)" in error_of()
