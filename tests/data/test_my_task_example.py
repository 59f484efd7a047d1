from __future__ import annotations

from pathlib import Path

from tests.scripts import load_script

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_task.py"


def test_the_example_is_a_task_of_15_lines(make_mixture):
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(lines) <= 15
    task = load_script(EXAMPLE).CapitalsTask()
    splits = {split: [row["capital"] for row in task.rows(split)] for split in ("train", "validation", "test")}
    assert splits == {"train": ["Paris", "Lima", "Tokyo", "Oslo"], "validation": [], "test": ["Nairobi", "Havana"]}
    row = next(iter(task.rows("train")))
    assert task.has_score
    assert (task.score(" Paris\n", row), task.score("It is Paris", row)) == (1.0, 0.0)
    mixture = make_mixture(task=task)
    assert mixture.reports["task"].num_kept == 4
