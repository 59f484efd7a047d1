"""Placeholders, the order of stages, and errors."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from grsap.errors import ConfigError
from grsap.study import StageSpec
from grsap.study.estimate import Estimator
from grsap.study.filling import Filler
from grsap.study.machine import Machine
from grsap.study.plan import plan_stages

AXES = {"model": ["a", "b"], "row": ["none", "own"]}
CHOICES: dict[str, dict[str, dict[str, Any]]] = {
    "model": {"a": {"path": "org/a", "size": 7}, "b": {"path": "org/b", "size": 8}},
    "row": {
        "none": {"needs": "", "rows": None},
        "own": {"needs": "make/{model}", "rows": {"path": "{folder}/{model}"}},
    },
}
FILLER = Filler("runs/x", AXES, CHOICES)
STAGES = [
    StageSpec("fit/{model}/{row}", "fit", settings={"data": {"replay": "{row.rows}"}}, needs=["{row.needs}"]),
    StageSpec("make/{model}", "synthesize", settings={"p": "{question} of {model.path}", "n": "{model.size}"}),
    StageSpec("unused", "import"),
]


def test_placeholders_are_replaced_and_stages_follow_those_they_need() -> None:
    stages = plan_stages(STAGES, FILLER, ["fit/{model}/{row}"])
    names = ["fit/a/none", "make/a", "fit/a/own", "fit/b/none", "make/b", "fit/b/own"]
    assert [stage.name for stage in stages] == names
    assert stages[1].settings == {"p": "{question} of org/a", "n": 7}
    assert [stage.settings["data"]["replay"] for stage in stages if stage.verb == "fit"] == [
        None,
        {"path": "runs/x/a"},
        None,
        {"path": "runs/x/b"},
    ]
    assert stages[2].folder == Path("runs/x/fit/a/own")
    assert stages[2].summary.name == "summary.json"


def test_items_of_a_list_are_repeated_for_each_choice_and_empty_ones_dropped() -> None:
    settings = {"subjects": ["{model}-{row}", "{row.needs}"]}
    every = StageSpec("all/{model}", "evaluate", settings=settings, needs=["fit/{model}/{row}"])
    stages = plan_stages([every, *STAGES], FILLER, ["all/b"])
    assert stages[-1].settings == {"subjects": ["b-none", "b-own", "make/b"]}
    assert stages[-1].needs == ("fit/b/none", "fit/b/own")
    assert [stage.name for stage in stages] == ["fit/b/none", "make/b", "fit/b/own", "all/b"]


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        ([StageSpec("a", "fit", needs=["b"]), StageSpec("b", "fit", needs=["a"])], "in a circle: a -> b -> a"),
        ([StageSpec("a", "fit", needs=["c"])], "a needs the stage 'c', which does not exist"),
        ([StageSpec("a", "fit"), StageSpec("a/{model}", "fit")], "stage a/a is in the folder of stage a"),
        ([StageSpec("a", "fit"), StageSpec("a", "fit")], "two stages are called 'a'"),
        ([StageSpec("../a", "fit")], "stage '../a': the name is not a relative folder"),
        ([StageSpec("a", "fit", settings={"x": "{model.path}"})], "{model.path} is used where no model is chosen"),
        ([StageSpec("a/{model}", "fit", settings={"x": "{model.pat}"})], "model 'a' has no pat"),
        ([StageSpec("a", "fit", configs=["nowhere.yaml"])], "stage a: there is no config nowhere.yaml"),
    ],
)
def test_errors_name_the_stage(specs: list[StageSpec], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_stages(specs, FILLER, [])
    assert said in str(caught.value)


def test_stages_of_an_axis_without_choices_are_left_out() -> None:
    (stage,) = plan_stages(
        [StageSpec("fit/{ratio}", "fit"), StageSpec("fit/{model}", "fit")], Filler("x", {"model": ["a"]}), []
    )
    assert stage.name == "fit/a"


def test_a_choice_without_details_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"axes.model: there is no 'c'. Choices are a, b"):
        plan_stages(STAGES, Filler("runs/x", AXES | {"model": ["c"]}, CHOICES), [])


def test_an_estimate_by_hand(tmp_path: Path) -> None:
    shape = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512, "tie_word_embeddings": True}
    # Embeddings 512 x 32; a layer: q, o 32 x 32, k, v 16 x 32, three of 32 x 64, two norms; one norm at the end.
    num_parameters = 512 * 32 + 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 32 * 64 + 2 * 32) + 32
    config = tmp_path / "fit.yaml"
    config.write_text("model: {base: {path: any, quantization: none, gradient_checkpointing: true}, lora: null}\n")
    cost = {"num_rows": 1000, "tokens_per_row": 50, "shape": shape}
    specs = [
        StageSpec("fit", "fit", [str(config)], cost=cost),
        StageSpec("ask", "evaluate", cost={**cost, "num_subjects": 3}),
    ]
    fit, ask = plan_stages(specs, Filler("x", {}), [])
    estimator = Estimator(Machine(train_tflops=1e-3, generate_tokens_per_s=100, num_devices=2))
    found = estimator.of(fit)
    assert found is not None
    assert found.num_tokens == 50_000
    assert found.hours == pytest.approx(8 * num_parameters * 50_000 / 1e9 / 3600 / 2)
    assert found.memory_gib > 16 * num_parameters / 2**30  # weights, gradients and AdamW in float32, and activations
    asked = estimator.of(ask)
    assert asked is not None
    assert (asked.num_tokens, asked.hours) == (150_000, pytest.approx(1500 / 3600 / 2))
    assert asked.memory_gib == pytest.approx(2 * num_parameters / 2**30)


def test_placeholders_in_namespaces_of_the_command_line() -> None:
    value = {"replay": Namespace(class_path="X", init_args=Namespace(path="{folder}/a"))}
    filled = Filler("runs/x", {}).fill(value, {})
    assert filled == {"replay": {"class_path": "X", "init_args": {"path": "runs/x/a"}}}
