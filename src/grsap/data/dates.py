"""A second small task: conversion of written dates to ISO format."""

from __future__ import annotations

import datetime
import random

from grsap.data.conversation import ConversationDataModule, Row
from grsap.data.extraction_texts import MONTHS
from grsap.errors import ConfigError
from grsap.records import Split

INSTRUCTION = "Write this date as year-month-day: "
FORMS = (
    "{month} {day}, {year}",
    "{day} {month} {year}",
    "the {ordinal} of {month} {year}",
    "{month} the {ordinal}, {year}",
    "{weekday}, {day} {month} {year}",
    "{weekday} the {ordinal} of {month}, {year}",
    "{short} {day} {year}",
    "{day} {short} {year}",
)
FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)


class DatesTask(ConversationDataModule):
    """Write a date such as "the 3rd of March 2021" as 2021-03-03. Dates are unique over all splits.

    Args:
        num_train: rows to train on.
        num_test: rows to test on.
        seed: random seed of the dates.

    Raises:
        ConfigError: a negative number of rows, or more than there are days from 1950 to 2049.
    """

    def __init__(self, num_train: int = 600, num_test: int = 120, seed: int = 0) -> None:
        super().__init__()
        num_days = (LAST - FIRST).days + 1
        if min(num_train, num_test) < 0 or num_train + num_test > num_days:
            raise ConfigError(
                f"num_train and num_test are {num_train} and {num_test}", f"Give at most {num_days} in all"
            )
        self.num_train = num_train
        self.num_test = num_test
        self.seed = seed

    def rows(self, split: Split) -> list[Row]:
        """Return rows with `id`, `messages` and `expected`. The test rows do not depend on `num_train`."""
        num_days = (LAST - FIRST).days + 1
        days = random.Random(f"{self.seed}/dates").sample(range(num_days), num_days)
        chosen = {"test": days[: self.num_test], "train": days[num_days - self.num_train :]}.get(split, [])
        return [self._row(split, FIRST + datetime.timedelta(day)) for day in chosen]

    def score(self, response: str, row: Row) -> float:
        """Return 1 if the response is exactly the expected date, else 0."""
        return float(response.strip() == row["expected"])

    def _row(self, split: str, date: datetime.date) -> Row:
        month = MONTHS[date.month - 1]
        form = random.Random(f"{self.seed}/{date}").choice(FORMS)
        text = form.format(
            month=month,
            short=month[:3],
            day=date.day,
            ordinal=_ordinal(date.day),
            year=date.year,
            weekday=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[date.weekday()],
        )
        messages = [
            {"role": "user", "content": f"{INSTRUCTION}{text}"},
            {"role": "assistant", "content": date.isoformat()},
        ]
        return {"id": f"{split}-{date.isoformat()}", "messages": messages, "expected": date.isoformat()}


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number not in (11, 12, 13) else "th"
    return f"{number}{ending}"
