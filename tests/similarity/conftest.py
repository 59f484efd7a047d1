"""Safety rows drawn with a seed, and an embedder without weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grsap.embedding import Embedder
from grsap.records import SafetyRecord, write_jsonl

NOUNS = ["lamp", "tree", "boat", "door", "song", "road", "cake", "rain", "book", "stone", "river", "glove"]
VERBS = ["paint", "move", "find", "draw", "sell", "clean", "count", "hide", "lift", "test"]


class Letters(Embedder):
    """Sums a fixed random vector per word. Counts the texts that it embeds, and may die at one."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.asked: list[str] = []
        self.dies_at = dies_at

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        for index, text in enumerate(texts):
            if len(self.asked) == self.dies_at:
                raise Died
            self.asked.append(text)
            yield [index], sum(word_vector(word) for word in text.lower().split())[None]

    def identity(self) -> dict[str, Any]:
        return {"embedder": "Letters"}


class Died(BaseException):
    """Simulates kill -9: nothing may catch it and write."""


def word_vector(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).normal(size=16) * (0.2 if word.isdigit() else 1.0)


def make_records(num: int, seed: int, nouns: Sequence[str] = NOUNS, name: str = "row") -> list[SafetyRecord]:
    """Distinct queries about nouns, half of them refused; domain is the noun."""
    random = np.random.default_rng(seed)
    records = []
    for number in range(num):
        noun, verb = str(random.choice(nouns)), str(random.choice(VERBS))
        query = f"How do I {verb} the {noun} of {random.integers(10**9)} ?"
        answer = "I cannot help with that ." if number % 2 else f"You can {verb} the {noun} slowly ."
        records.append(
            SafetyRecord(
                f"{name}-{number}",
                [{"role": "user", "content": query}, {"role": "assistant", "content": answer}],
                domain=noun,
                behaviour="refusal" if number % 2 else "benign_answer",
            )
        )
    return records


Write = Callable[[str, list[SafetyRecord]], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write rows to a file and give its path."""

    def write(name: str, records: list[SafetyRecord]) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        write_jsonl(path, [record.to_dict() for record in records])
        return str(path)

    return write


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "similarity.json").read_text())
    return result
