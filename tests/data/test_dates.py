from __future__ import annotations

import pytest

from grsap.data.dates import DatesTask
from grsap.errors import ConfigError


def test_rows_and_marks():
    task = DatesTask(num_train=500, num_test=100)
    train, test = task.rows("train"), task.rows("test")
    assert (len(train), len(test), task.rows("validation")) == (500, 100, [])
    expected = [row["expected"] for row in [*train, *test]]
    assert len(set(expected)) == 600
    assert [row["messages"][1]["content"] for row in train] == expected[:500]
    assert test == DatesTask(num_train=7, num_test=100).rows("test")
    assert (task.score(f" {test[0]['expected']}\n", test[0]), task.score("2021", test[0])) == (1.0, 0.0)


def test_a_date_is_written_as_people_write_it():
    texts = {row["messages"][0]["content"] for row in DatesTask(num_train=36_000, num_test=0).rows("train")}
    assert len(texts) == 36_000
    prompts = {text.removeprefix("Write this date as year-month-day: ") for text in texts}
    assert any(text.startswith("the 22nd of ") for text in prompts)
    assert any(text.startswith("Saturday the 11th of ") for text in prompts)


def test_more_rows_than_days():
    with pytest.raises(ConfigError, match="Give at most 36525 in all"):
        DatesTask(num_train=36_500, num_test=30)
