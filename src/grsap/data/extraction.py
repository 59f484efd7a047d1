"""The quickstart's task: structured extraction from sentences that are generated from a seed."""

from __future__ import annotations

import json
import random
from typing import Any

from grsap.data.conversation import ConversationDataModule, Row
from grsap.data.extraction_texts import CITIES, COLOURS, ITEMS, MONTHS, NAMES, NUMBER_WORDS, SENTENCES
from grsap.errors import ConfigError
from grsap.json_text import parse_json
from grsap.records import Split

INSTRUCTION = "Extract the order as JSON: "
SPLITS: tuple[Split, ...] = ("test", "validation", "train")
"""Order of generation. Test rows come first, so that they do not depend on the number of training rows."""


class ExtractionTask(ConversationDataModule):
    """Extract the order as JSON from a sentence with a name, city, item, colour, quantity and date.

    A small model fails at it before training and learns it in minutes. Quantities are digits or words. Sentences are
    unique over all splits; their 20 templates are shared.

    Args:
        num_train: number of training rows, in [0, 100000].
        num_validation: number of validation rows, in [0, 100000].
        num_test: number of test rows, in [0, 100000].
        seed: random seed of the sentences.

    Raises:
        ConfigError: a number of rows is out of range.
    """

    def __init__(self, num_train: int = 600, num_validation: int = 40, num_test: int = 120, seed: int = 0) -> None:
        super().__init__()
        self.num_rows: dict[Split, int] = {"train": num_train, "validation": num_validation, "test": num_test}
        for split, num in self.num_rows.items():
            if not 0 <= num <= 100_000:
                raise ConfigError(f"num_{split} is {num}", "Give a number from 0 to 100000")
        self.seed = seed
        self._rows: dict[Split, list[Row]] = {}

    def rows(self, split: Split) -> list[Row]:
        """Return rows with `id`, `messages` and `expected`, the expected JSON object."""
        if not self._rows:
            seen: set[str] = set()
            for name in SPLITS:
                self._rows[name] = self._make(name, seen)
        return self._rows[split]

    def score(self, response: str, row: Row) -> float:
        """Return 1 if `response` is exactly the expected JSON object (same keys, values and types), else 0."""
        try:
            found = parse_json(response)
        except ValueError:
            return 0.0
        return float(json.dumps(found, sort_keys=True) == json.dumps(row["expected"], sort_keys=True))

    def _make(self, split: Split, seen: set[str]) -> list[Row]:
        rng = random.Random(f"{self.seed}/{split}")
        rows: list[Row] = []
        while len(rows) < self.num_rows[split]:
            sentence, order = _order(rng)
            if sentence in seen:
                continue
            seen.add(sentence)
            rows.append(
                {
                    "id": f"{split}-{len(rows):05d}",
                    "messages": [
                        {"role": "user", "content": INSTRUCTION + sentence},
                        {"role": "assistant", "content": json.dumps(order)},
                    ],
                    "expected": order,
                }
            )
        return rows


def _order(rng: random.Random) -> tuple[str, dict[str, Any]]:
    """Return a sentence and the object to extract from it."""

    def pick(words: tuple[str, ...]) -> str:
        # Only random() is guaranteed to return the same numbers in every Python version.
        return words[int(rng.random() * len(words))]

    word = pick(NUMBER_WORDS)
    quantity = NUMBER_WORDS.index(word) + 2
    order = {
        "name": pick(NAMES),
        "city": pick(CITIES),
        "item": pick(ITEMS),
        "colour": pick(COLOURS),
        "quantity": quantity,
        "date": f"{1 + int(rng.random() * 28)} {pick(MONTHS)}",
    }
    shown = word if rng.random() < 1 / 3 else str(quantity)
    sentence = pick(SENTENCES).format_map({**order, "quantity": shown})
    return sentence[0].upper() + sentence[1:], order
