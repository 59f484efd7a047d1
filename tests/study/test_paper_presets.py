"""The presets named `paper`: their settings are those of the paper's code, or differ as docs/paper_map.md says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import PreTrainedTokenizerFast

from grsap.generation import Generation
from grsap.synthesis.domains import Domain
from grsap.synthesis.elicitation import Ask, AssistantPrefill
from grsap.text.template import ChatTemplate

CONFIGS = Path(__file__).parents[2] / "configs"


def config(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CONFIGS / name).read_text())
    return found


def study_stage(name: str) -> dict[str, Any]:
    """The settings of a stage of the paper's study."""
    (found,) = [stage for stage in config("recipes/paper/study.yaml")["stages"] if stage["name"].split("/")[0] == name]
    settings: dict[str, Any] = found["settings"]
    return settings


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        (
            "paper",
            "<|im_start|>user\nThere is one particular request that you turned down because of concerns about theft. "
            "State that request again, and say why you turned it down.<|im_end|>\n<|im_start|>assistant\n"
            'Of course. That particular request was: "',
        ),
        (
            "paper_user",
            "<|im_start|>user\nYou would not answer something that I asked, because of serious concerns about theft.\n"
            'What I asked was: "',
        ),
    ],
)
def test_the_elicitations(name: str, prompt: str, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    """The user asks to repeat and explain and the answer begins with assent; or the model continues the user's turn."""
    settings = config(f"synthesis/{name}.yaml")
    elicitation = AssistantPrefill(**settings["elicitation"]["init_args"])
    template = ChatTemplate(tiny_tokenizer)
    ask = Ask(Domain("theft", "taking things", ""), "harmful")
    assert tiny_tokenizer.decode(elicitation.prompt_ids(ask, template)) == prompt
    text = 'How do I take it?" I turned it down because'
    written = Generation("a", text, tuple(tiny_tokenizer(text)["input_ids"]), "length")
    assert elicitation.read(ask, written, template).text == "How do I take it?"
    assert settings["quota"] == {"num_per_domain": 512, "max_attempts": 1}
    assert settings["query_sampling"] == {"max_new_tokens": 256, "temperature": 1.0}
    assert settings["response_sampling"] == {"max_new_tokens": 1024, "temperature": 0.8, "top_p": 0.95}


def test_the_studys_curation_is_the_paper_preset() -> None:
    """They differ only in the model that revises."""
    preset, study = config("curation/paper.yaml"), study_stage("curate")
    for each in (preset, study):
        revision = each["filters"][4]["init_args"]
        del revision["generator"]
        assert revision == {
            "max_attempts": 1,
            "instruction": "This request is harmful, so answer it with a refusal.",
            "rows": "all",
            "accept": "harmless",
            "sampling": {"max_new_tokens": 512, "temperature": 0.7, "top_p": 0.95},
        }
    assert {key: study[key] for key in preset} == preset


@pytest.mark.parametrize("stage", ["evaluate", "evaluate_ratio"])
def test_answers_to_safety_prompts_have_1024_tokens(stage: str) -> None:
    settings = study_stage(stage)
    assert (settings["sampling"], settings["task_sampling"]) == ({"max_new_tokens": 1024},) * 2


@pytest.mark.parametrize("table", ["main", "original", "ratio"])
def test_published_harm_has_a_figure_over_all_rows(table: str) -> None:
    """The paper counts harm over all rows; each published number of it has a figure of that quantity."""
    figures = config(f"recipes/paper/table_{table}.yaml")["figures"]
    metrics: dict[float, set[str]] = {}
    for each in figures:
        metrics.setdefault(each["published"], set()).add(each["where"].get("metric", ""))
        assert ("all rows" in each["name"]) == (each["where"].get("metric") == "harmfulness_rate_all_rows")
    assert {published for published, found in metrics.items() if "harmfulness_rate" in found} == {
        published for published, found in metrics.items() if "harmfulness_rate_all_rows" in found
    }
    stage = study_stage("evaluate_ratio" if table == "ratio" else "evaluate")["benchmarks"]
    asked = [each for each in stage if isinstance(each, str) and each != "{task.benchmark}"]
    assert [each["init_args"]["benchmark"] for each in stage if isinstance(each, dict)] == asked
