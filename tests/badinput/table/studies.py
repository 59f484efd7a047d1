"""Studies whose stages, axes, choices, goals, figures or costs do not fit together."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tests.badinput.case import Case
from tests.badinput.worlds import WORLDS

STAGES = WORLDS["study"].settings["stages"]
SHAPE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}
COST = {"num_rows": 10, "tokens_per_row": 10, "shape": SHAPE}


def stages(number: int, **changed: Any) -> list[dict[str, Any]]:
    """The stages of the good study, one of them changed."""
    found = copy.deepcopy(STAGES)
    found[number].update(changed)
    return found


INSIDE = {**STAGES[1], "name": "curate/inside"}
CIRCLE = {**STAGES[1], "name": "b", "needs": ["curate"]}

CHANGES: dict[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {
    "stages-empty": ({"stages": []}, ("stages",)),
    "stages-one_alone": ({"stages": {"a": 1}}, ("stages",)),
    "stages-text": ({"stages": "import"}, ("stages",)),
    "stages-of_texts": ({"stages": ["import"]}, ("stages",)),
    "stage-name_missing": ({"stages": [{"verb": "import"}]}, ("name",)),
    "stage-name_empty": ({"stages": stages(1, name="")}, ("name",)),
    "stage-name_absolute": ({"stages": stages(1, name="/tmp/x"), "goals": []}, ("/tmp/x",)),
    "stage-name_up": ({"stages": stages(1, name="../x"), "goals": []}, ("../x",)),
    "stage-name_hidden": ({"stages": stages(1, name=".x"), "goals": []}, (".x",)),
    "stage-name_nul": ({"stages": stages(1, name="a\0b"), "goals": []}, ("NUL",)),
    "stage-name_long": ({"stages": stages(1, name="x" * 300), "goals": [], "report": [], "figures": []}, ("xxxx",)),
    "stage-name_twice": ({"stages": [*STAGES, STAGES[1]]}, ("curate",)),
    "stage-name_inside": (
        {"stages": [*STAGES, INSIDE], "goals": []},
        ("curate/inside",),
    ),
    "stage-name_list": ({"stages": stages(1, name=["curate"])}, ("name",)),
    "stage-verb_missing": ({"stages": [{"name": "a"}]}, ("verb",)),
    "stage-verb_unknown": ({"stages": stages(1, verb="bake")}, ("verb",)),
    "stage-verb_doctor": ({"stages": stages(1, verb="doctor")}, ("verb",)),
    "stage-key_unknown": ({"stages": stages(1, setings={"a": 1})}, ("setings",)),
    "stage-configs_text": ({"stages": stages(1, configs="a.yaml")}, ("configs",)),
    "stage-configs_missing": ({"stages": stages(1, configs=["no.yaml"])}, ("no.yaml",)),
    "stage-configs_embedded": ({"stages": stages(1, configs=["embedded:configs/no.yaml"])}, ("configs/no.yaml",)),
    "stage-configs_nul": ({"stages": stages(1, configs=["a\0b"])}, ("NUL",)),
    "stage-settings_list": ({"stages": stages(1, settings=["input"])}, ("settings",)),
    "stage-settings_no_detail": ({"stages": stages(0, settings={"limit": "{num.rows}"})}, ("{num.rows}",)),
    "stage-settings_unbound": ({"stages": stages(1, settings={"input": "{num}"})}, ("{num}",)),
    "stage-needs_unknown": ({"stages": stages(1, needs=["bake"])}, ("bake",)),
    "stage-needs_itself": ({"stages": stages(1, needs=["curate"])}, ("curate",)),
    "stage-needs_circle": (
        {"stages": [*stages(1, needs=["b"]), CIRCLE]},
        ("circle",),
    ),
    "stage-needs_text": ({"stages": stages(1, needs="import/2")}, ("needs",)),
    "axes-empty": ({"axes": {"num": []}}, ("axes.num",)),
    "axes-of_names": ({"axes": ["num"]}, ("axes",)),
    "axes-text": ({"axes": {"num": "2"}}, ("axes",)),
    "axes-folder": ({"axes": {"folder": ["a"]}}, ("axes.folder",)),
    "axes-of_null": ({"axes": {"num": None}}, ("axes",)),
    "axes-missing": ({"axes": {}, "goals": ["import/2"]}, ("import/2",)),
    "choices-unknown": ({"choices": {"num": {"2": {}}}}, ("axes.num", "'3'")),
    "choices-of_names": ({"choices": {"num": ["2"]}}, ("choices",)),
    "goals-unknown": ({"goals": ["bake"]}, ("bake",)),
    "goals-text": ({"goals": "curate"}, ("goals",)),
    "goals-unbound": ({"goals": ["import/{colour}"]}, ("import/{colour}",)),
    "report-unknown": ({"report": ["bake/*"]}, ("report", "bake/*")),
    "report-text": ({"report": "curate"}, ("report",)),
    "figures-no_name": ({"figures": [{"stages": "curate"}]}, ("name",)),
    "figures-unknown_key": ({"figures": [{"name": "a", "stages": "curate", "colour": "red"}]}, ("colour",)),
    "figures-unknown_stage": ({"figures": [{"name": "a", "stages": "bake"}]}, ("figure", "bake")),
    "figures-published_text": ({"figures": [{"name": "a", "stages": "curate", "published": "half"}]}, ("published",)),
    "figures-where_list": ({"figures": [{"name": "a", "stages": "curate", "where": ["step"]}]}, ("where",)),
    "machine-unknown_key": ({"machine": {"cores": 2}}, ("machine.cores",)),
    "machine-zero": ({"machine": {"num_devices": 0}}, ("machine.num_devices",)),
}
COSTS: dict[str, Any] = {
    "unknown_key": {**COST, "colour": "red"},
    "key_missing": {"num_rows": 10},
    "rows_text": {**COST, "num_rows": "many"},
    "rows_negative": {**COST, "num_rows": -1},
    "rows_list": {**COST, "num_rows": [1]},
    "tokens_nan": {**COST, "tokens_per_row": float("nan")},
    "shape_text": {**COST, "shape": "llama"},
    "shape_empty": {**COST, "shape": {}},
    "shape_unknown": {**COST, "shape": {"model_type": "no_such_model"}},
    "shape_broken": {**COST, "shape": {**SHAPE, "hidden_size": "wide"}},
    "shape_zero": {**COST, "shape": {**SHAPE, "num_attention_heads": 0}},
    "list": ["num_rows"],
}

CASES = [Case(f"study-{name}", "study", names, changed) for name, (changed, names) in CHANGES.items()]
CASES += [
    Case(f"study-cost-{name}", "study", ("cost",), {"stages": stages(1, cost=cost)}, words=("--dry-run",))
    for name, cost in COSTS.items()
]
