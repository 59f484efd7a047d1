"""Numbered steps: what counts as right, by hand-made answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grsap.data import StepsTask
from grsap.errors import ConfigError, DataError

ROW = {"about": [["egg"], ["water", "pan"]]}
RIGHT = "Step 1: Boil some water. Step 2: Slide the eggs in. Step 3: Lift them out."


def task(**settings: int) -> StepsTask:
    return StepsTask("train.jsonl", **settings)


@pytest.mark.parametrize(
    "answer",
    [
        RIGHT,
        f"  {RIGHT}\n",
        RIGHT.replace(". Step", ".\nStep"),
        "Step 1: Heat a pan. Step 2: Crack an egg into it. Step 3: Serve it!",
        "Step 1: WATER first. Then wait. Step 2: Add 2 eggs. Step 3: Wait again.",
    ],
)
def test_right_answers(answer: str) -> None:
    assert task().score(answer, ROW) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Sure. Boil some water and slide the eggs in.",
        f"Sure. {RIGHT}",
        RIGHT.split(" Step 3")[0],
        f"{RIGHT} Step 4: Eat them.",
        RIGHT.replace("Step 2", "Step 4"),
        RIGHT.replace("Step 2:", "Step 2"),
        RIGHT.removesuffix(" out."),
        RIGHT.replace("Slide the eggs in", "Eggs"),
        RIGHT.replace("Slide the eggs in", "Slide the eggs in, step by step"),
        "Step 1: Boil some eggs. Step 2: Boil some eggs. Step 3: Lift them out of the water.",
        "Step 1: Boil some water. Step 2: Slide the potatoes in. Step 3: Lift them out.",
        "Step 1: Take the eggs. Step 2: Cook the eggs. Step 3: Serve the eggs.",
        '{"step 1": "egg", "step 2": "water", "step 3": "pan"}',
    ],
)
def test_wrong_answers(answer: str) -> None:
    assert task().score(answer, ROW) == 0.0


def test_a_row_without_about_is_scored_by_its_form() -> None:
    assert (task().score(RIGHT, {}), task().score("Step 1: Boil some water.", {})) == (1.0, 0.0)
    assert task().score(RIGHT, {"about": None}) == 1.0
    assert task(num_steps=1).score("Step 1: Boil some water.", {}) == 1.0
    assert task().has_score


@pytest.mark.parametrize("num_steps", [0, -1, 21])
def test_a_wrong_number_of_steps(num_steps: int) -> None:
    with pytest.raises(ConfigError, match=f"num_steps is {num_steps}. Give a number from 1 to 20"):
        task(num_steps=num_steps)


@pytest.mark.parametrize("about", ["egg", ["egg"], [[]], [["egg", ""]], [["egg", 3]], {"egg": 1}])
def test_a_wrong_about_is_reported_with_its_line(about: object, tmp_path: Path) -> None:
    good = {"prompt": "How?", "response": RIGHT, "about": [["egg"]]}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps({**good, "about": about}) + "\n")
    with pytest.raises(DataError, match="about is no list of lists of words") as caught:
        StepsTask(str(path)).rows("train")
    assert (str(caught.value.path), caught.value.line) == (str(path), 2)
