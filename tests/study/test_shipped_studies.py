"""The packaged studies: each stage parses with its verb, and the files that it names exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.scripts import resource

from grsap.cli import main
from grsap.study import Figure, StageSpec, Study
from grsap.study.filling import Filler
from grsap.study.plan import PlannedStage, plan_stages

RECIPES = Path(__file__).parents[2] / "configs" / "recipes"
MINI = ("paper_mini/study.yaml",)
FULL = (*MINI, "paper_mini/full.yaml")
OURS = ("how_to_study/study.yaml",)


def planned(*names: str, axes: dict[str, list[str]] | None = None) -> list[PlannedStage]:
    config: dict[str, Any] = {}
    for name in names:
        config |= yaml.safe_load((RECIPES / name).read_text())
    filler = Filler("runs/any", config["axes"] | (axes or {}), config["choices"])
    return plan_stages([StageSpec(**each) for each in config["stages"]], filler, config.get("goals", []))


def parsed(stage: PlannedStage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the settings of a stage as its verb's parser reads them."""
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(dict(stage.settings)))
    words = [word for file in (*stage.configs, str(settings)) for word in ("--config", file)]
    output = "--run_dir" if stage.verb == "fit" else "--output_dir"
    capsys.readouterr()
    code = main([stage.verb, *words, output, str(stage.folder), "--print_config"])
    captured = capsys.readouterr()
    assert code == 0, f"{stage.name}: {captured.err}"
    found: dict[str, Any] = yaml.safe_load(captured.out)
    return found


def test_the_miniature_has_four_rows_and_one_seed() -> None:
    names = [stage.name for stage in planned(*MINI)]
    assert [name for name in names if name.startswith("fit/")] == [
        f"fit/how_to/{row}/0" for row in ("none", "gr_sap", "original", "off_distribution")
    ]
    assert names.index("curate") < names.index("fit/how_to/gr_sap/0") < names.index("evaluate/how_to/0")
    assert len(names) == 8


def test_the_whole_miniature_has_all_rows_three_tasks_and_three_seeds() -> None:
    stages = planned(*FULL)
    fits = [stage.name for stage in stages if stage.verb == "fit"]
    assert len(fits) == 4 * 3 * 3 + 7
    assert {name.split("/")[2] for name in fits} >= {
        "gr_sap_kl",
        "no_benign",
        *(f"ratio_{n}" for n in ("02", "05", "30")),
    }
    (others,) = [stage for stage in stages if stage.name == "others/how_to"]
    assert len(others.settings["subjects"]) == len(others.needs) == 4 + 7
    assert [stage.name for stage in stages].count("unseen/how_to/2") == 1


def test_the_miniatures_stages_parse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = set()
    for stage in planned(*FULL):
        kind = stage.name if stage.verb != "fit" else (stage.name.split("/")[1], stage.configs[-1])
        if kind in seen or stage.name.endswith(("/1", "/2")):
            continue
        seen.add(kind)
        found = parsed(stage, tmp_path, capsys)
        if stage.verb == "fit":
            ratio = stage.settings["data"]["sampler"]["init_args"]["replay_ratio"]
            assert found["data"]["sampler"]["class_path"].endswith("RatioSampler")
            assert found["data"]["sampler"]["init_args"] == {
                "replay_ratio": ratio,
                "control": "total",
                "num_rows": 252,
            }
            assert (found["data"]["replay"] is None) == (ratio == 0)
    assert len(seen) == 15


def test_rows_of_the_how_to_study_are_what_their_names_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = {stage.name: stage for stage in planned(*OURS)}
    fits = [name for name in stages if name.startswith("fit/")]
    assert len(fits) == 5 * 8 + (4 + 5 + 2 + 4) * 3
    assert {name.split("/")[1] for name in fits} == set(resource("evidence").NAMES) - {"start"}

    def last(path: str) -> str:
        return path.rpartition(".")[2]

    def row(name: str) -> tuple[str, str | None, list[tuple[str, float]]]:
        found = parsed(stages[f"fit/{name}/0"], tmp_path, capsys)
        objectives = [(last(each["class_path"]), each["init_args"]["weight"]) for each in found["model"]["objectives"]]
        replay = found["data"]["replay"]
        return (
            last(found["data"]["task"]["class_path"]),
            replay and Path(replay["init_args"]["path"]).parent.name,
            objectives,
        )

    alone, both = [("CrossEntropy", 1.0)], [("CrossEntropy", 1.0)] * 2
    kl = [*both, ("KLToBase", 8.0)]
    assert row("none") == ("StepsTask", None, alone)
    assert row("own") == ("StepsTask", "curate", kl)
    assert row("own_ce") == ("StepsTask", "curate", both)
    assert row("hand_benign") == ("StepsTask", "hand_benign", kl)
    assert row("own_set_2") == ("StepsTask", "curate_2", kl)
    assert row("extraction_none") == ("ExtractionTask", None, alone)
    assert row("dates_own") == ("DatesTask", "curate", kl)


PAPER = "paper/study.yaml"
STUDIES = [
    MINI,
    FULL,
    OURS,
    *((PAPER, f"paper/{name}.yaml") for name in ("table_main", "table_original", "table_ratio")),
]


@pytest.mark.parametrize("names", STUDIES, ids=lambda names: Path(names[-1]).stem)
def test_each_shipped_study_passes_its_own_check(names: tuple[str, ...]) -> None:
    """Also if a stage that no goal needs has another axis, and with a single model."""
    config: dict[str, Any] = {}
    for name in names:
        config |= yaml.safe_load((RECIPES / name).read_text())
    stages = [StageSpec(**each) for each in config["stages"]]
    figures = [Figure(**each) for each in config.get("figures", [])]
    one_model = {"model": config["axes"]["model"][:1]} if "model" in config["axes"] else {}
    for axes in (config["axes"], config["axes"] | one_model):
        Study(stages, axes, config["choices"], config.get("goals", []), figures).check()
