"""The card beside the adapter: what was measured, nothing else, and never over what someone wrote."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from peft import LoraConfig, get_peft_model
from tests.callbacks.toy_run import PlantedHarmfulness, PlantedTaskScore, ToyModule, toy_fit
from transformers import LlamaForCausalLM

from grsap.callbacks import AdapterCheckpoint, MixtureMonitor, Provenance, RunSummary
from grsap.callbacks.model_export import export_model
from grsap.runs.folder import RunFolder
from grsap.runs.model_card import is_edited, model_card, write_model_card

CHECKS = ({0: 0.0, 10: 1.0}, {0: 0.25, 10: 0.75})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A toy run: the task score goes from 0 of 4 to 4 of 4, harm from 1 of 4 to 3."""
    task, harm = (kind(values) for kind, values in zip((PlantedTaskScore, PlantedHarmfulness), CHECKS, strict=True))
    # The order in which a config may name them: the card must still come last.
    toy_fit(tmp_path / "run", [AdapterCheckpoint(100), task, harm, RunSummary(0.05), MixtureMonitor(), Provenance()])
    return RunFolder(tmp_path / "run")


def front_matter(text: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return values


def test_the_card_of_a_run(run: RunFolder) -> None:
    text = (run.adapter / "README.md").read_text()
    assert front_matter(text)["library_name"] == "peft"
    assert ModelCard.load(run.adapter / "README.md").data.library_name == "peft"
    assert "| task score (higher is better) | 0.0 % (0.0–60.2; n=4) | 100.0 % (39.8–100.0; n=4) | +100.0 (" in text
    assert re.search(r"\| \+100\.0 \([^|;]+; n=4\) \|", text)
    assert "| compliance (proxy) (lower) | 25.0 % (0.6–80.6; n=4) | 75.0 % (19.4–99.4; n=4) |" in text
    assert "Judge of the safety prompts: `planted`. It is a proxy that sees refusals only" in text
    assert "Harmfulness was not measured: the judge sees refusals only." in text
    assert "- 10 steps, 400 tokens" in text
    assert str(run.path.parent) not in text
    assert "More Information Needed" not in text
    assert not is_edited(run.adapter / "README.md")


@pytest.mark.parametrize("max_ratio", [2.0, None])
def test_held_names_the_ratio_only_where_it_was_tested(tmp_path: Path, max_ratio: float | None) -> None:
    task, harm = (kind(values) for kind, values in zip((PlantedTaskScore, PlantedHarmfulness), CHECKS, strict=True))
    summary = RunSummary(0.05, max_ratio=max_ratio)
    toy_fit(tmp_path / "run", [AdapterCheckpoint(100), task, harm, summary, MixtureMonitor(), Provenance()])
    text = (RunFolder(tmp_path / "run").adapter / "README.md").read_text()
    assert '"Held": worse by less than 5 points with 95 % confidence' in text
    assert ("and within `max_ratio`" in text) == (max_ratio is not None)


@pytest.mark.parametrize("change", ["append", "prepend", "inside", "own", "no_text"])
def test_an_edited_card_stays(run: RunFolder, tiny_llama: LlamaForCausalLM, change: str) -> None:
    path = run.adapter / "README.md"
    text = path.read_text()
    edited = {
        "append": text + "More.\n",
        "prepend": "License: mine\n" + text,
        "inside": text.replace("## Limits", "## Limits and licence"),
        "own": "# My card\n",
        "no_text": "\x00\ud800",
    }[change]
    path.write_bytes(edited.encode("utf-8", "surrogatepass"))
    before = path.read_bytes()
    assert write_model_card(run) is False
    module = ToyModule()
    module.model = get_peft_model(tiny_llama, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    export_model(module, run.adapter)
    assert path.read_bytes() == before


def test_a_card_of_our_own_is_written_anew(run: RunFolder, tiny_llama: LlamaForCausalLM) -> None:
    path = run.adapter / "README.md"
    before = path.read_text()
    module = ToyModule()
    module.model = get_peft_model(tiny_llama, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    export_model(module, run.adapter)
    assert not path.exists()  # neither PEFT's blanks nor an old card
    assert write_model_card(run) is True
    assert path.read_text() != before  # another adapter: r is 2
    assert "LoRA: r 2," in path.read_text()


def card(base: dict[str, Any], adapter: dict[str, Any] | None = None, **summary: Any) -> str:
    numbers = {"num_steps": 2, "num_tokens": 10, "seconds": 3.0}
    return model_card("a|run<b>", {**numbers, **summary}, {"base": base}, {"r": 4} if adapter is None else adapter)


def test_what_is_not_known_is_not_said(tmp_path: Path) -> None:
    text = card({"path": "Qwen/Qwen2.5-7B-Instruct", "quantization": "nf4"})
    assert front_matter(text)["base_model"] == "Qwen/Qwen2.5-7B-Instruct"
    assert "license" not in front_matter(text)
    assert "Nothing: the run had no checks." in text
    assert "- Harmfulness was not measured.\n- No safety rows were mixed in." in text
    assert "replay" not in text.partition("## What was measured")[0].partition("# a")[2]
    assert "# a\\|run\\<b\\>" in text
    folder = tmp_path / "secret-place" / "my-model"
    folder.mkdir(parents=True)
    text = card({"path": str(folder)})
    assert "base_model" not in front_matter(text)
    assert "secret-place" not in text
    assert "`my-model`" in text
    whole = card({"path": "a/b"}, adapter={})
    assert front_matter(whole)["library_name"] == "transformers"
    assert "PeftModel" not in whole
