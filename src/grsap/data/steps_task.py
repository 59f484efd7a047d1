"""A task whose answers are numbered steps."""

from __future__ import annotations

import re
from typing import Any

from grsap.data.conversation import Row
from grsap.data.jsonl_task import JSONLTask
from grsap.errors import ConfigError, DataError
from grsap.records import PlacedRow, Split

_MARK = re.compile(r"(?:^|\s)Step (\d+): ")
MIN_STEP_WORDS = 2
MAX_STEPS = 20


class StepsTask(JSONLTask):
    """Answer in numbered steps: "Step 1: ... Step 2: ... Step 3: ...", scored by form and content.

    Files are as in `JSONLTask`. A row may have `about`, lists of word beginnings: a right answer has a word from each
    list, such as the object in question and the action.

    Args:
        train_path: file of training rows.
        validation_path: file of validation rows.
        test_path: file of test rows.
        num_steps: number of steps in a right answer, in [1, 20].

    Raises:
        ConfigError: `num_steps` is out of range.
    """

    def __init__(
        self, train_path: str, validation_path: str | None = None, test_path: str | None = None, num_steps: int = 3
    ) -> None:
        if not 1 <= num_steps <= MAX_STEPS:
            raise ConfigError(f"num_steps is {num_steps}", f"Give a number from 1 to {MAX_STEPS}")
        super().__init__(train_path, validation_path, test_path)
        self.num_steps = num_steps

    @property
    def has_score(self) -> bool:
        """Return True: answers are scored by form, and by `about` if a row has it."""
        return True

    def rows(self, split: Split) -> list[PlacedRow]:
        """Return the conversations of a split; raise DataError for a wrong row or a wrong `about`."""
        rows = super().rows(split)
        for row in rows:
            if not _is_lists_of_words(row.get("about") or []):
                raise DataError(
                    "about is no list of lists of words",
                    'Write "about": [["egg"], ["water"]]',
                    path=row.path,
                    line=row.line,
                )
        return rows

    def score(self, response: str, row: Row) -> float:
        """Return 1 for exactly `num_steps` finished, distinct steps with a word of each list of `about`; else 0."""
        before, *parts = _MARK.split(response.strip())
        if before or parts[::2] != [str(number) for number in range(1, self.num_steps + 1)]:
            return 0.0
        steps = [_words(step) for step in parts[1::2]]
        right_form = (
            response.rstrip().endswith((".", "!"))
            and all(len(step) >= MIN_STEP_WORDS and "step" not in step for step in steps)
            and len({tuple(step) for step in steps}) == len(steps)
        )
        words = [word for step in steps for word in step]
        on_topic = all(any(word.startswith(tuple(group)) for word in words) for group in row.get("about") or [])
        return float(right_form and on_topic)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def _is_lists_of_words(about: Any) -> bool:
    return isinstance(about, list) and all(
        isinstance(group, list) and group and all(isinstance(word, str) and word for word in group) for group in about
    )
