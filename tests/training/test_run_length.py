from __future__ import annotations

from types import SimpleNamespace

import pytest

from grsap.training.run_length import limited_steps, planned_steps


@pytest.mark.parametrize(
    ("max_epochs", "max_steps", "expected"), [(2, -1, 14), (None, 5, 5), (2, 5, 5), (1, 9, 7), (-1, -1, None)]
)
def test_planned_steps(max_epochs: int | None, max_steps: int, expected: int | None) -> None:
    bounds = SimpleNamespace(max_epochs=max_epochs, max_steps=max_steps)
    assert planned_steps(bounds, 7) == expected


def test_an_epoch_without_an_end_is_no_bound() -> None:
    assert planned_steps(SimpleNamespace(max_epochs=2, max_steps=-1), None) is None
    assert planned_steps(SimpleNamespace(max_epochs=2, max_steps=9), None) == 9


@pytest.mark.parametrize(("limit", "expected"), [(1.0, 7), (0.5, 3), (4, 4), (9, 7)])
def test_an_epoch_is_as_long_as_lightning_lets_it(limit: float, expected: int) -> None:
    assert limited_steps(SimpleNamespace(limit_train_batches=limit), 7) == expected
