"""Near-duplicates: kept rows do not depend on the order; memory is the matrix and one block."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.curation.conftest import Decided, row

from grsap.curation import SemanticDeduplication, find_near_duplicates, near_duplicates
from grsap.embedding import Embedder

THRESHOLD = 0.85


def unit_rows(seed: int, num: int, num_centres: int) -> np.ndarray:
    """Rows around some centres, nearer or farther, and some that are equal."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(num_centres, 6))
    rows = centres[draw.integers(0, num_centres, num)] + draw.choice([0.0, 0.15, 0.5], num)[:, None] * draw.normal(
        size=(num, 6)
    )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_by_hand() -> None:
    degrees = np.radians([0, 25, 50, 75, 180, 181, 270])
    vectors = np.stack([np.cos(degrees), np.sin(degrees)], axis=1).astype(np.float32)
    found = find_near_duplicates(vectors, THRESHOLD)  # joined are rows within 31.8 degrees
    # The chain 0-25-50-75: 25 and 50 have the same sum of 2 x cos 25, and the first of equals stays; then 75 is left.
    assert found.kept_for.tolist() == [1, 1, 1, 3, 4, 4, 6]
    np.testing.assert_allclose(found.cosine, np.cos(np.radians([25, 0, 25, 0, 0, 1, 0])), atol=1e-6)
    np.testing.assert_allclose(found.nearest, np.cos(np.radians([25, 25, 25, 25, 1, 1, 89])), atol=1e-6)


def test_of_nothing_and_of_one() -> None:
    assert find_near_duplicates(np.zeros((0, 4), np.float32), THRESHOLD).kept_for.tolist() == []
    one = find_near_duplicates(np.ones((1, 1), np.float32), THRESHOLD)
    assert (one.kept_for.tolist(), one.nearest.tolist()) == ([0], [-1.0])


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 12), st.sampled_from([3, 16, 1024]))
def test_properties(seed: int, num: int, num_centres: int, block: int) -> None:
    """No two kept rows are near-duplicates; each removed row is one of the kept row that represents it."""
    vectors = unit_rows(seed, num, num_centres)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "BLOCK", block)
        found = find_near_duplicates(vectors, THRESHOLD)
    products = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    kept = np.flatnonzero(found.kept_for == np.arange(num))
    assert set(found.kept_for) == set(kept)
    between = products[np.ix_(kept, kept)] - 2 * np.eye(len(kept))
    assert (between <= THRESHOLD + 1e-5).all()
    assert (products[np.arange(num), found.kept_for] > THRESHOLD - 1e-5).all()
    if num > 1:
        np.testing.assert_allclose(found.nearest, (products - 3 * np.eye(num)).max(axis=1), atol=1e-5)


class Given(Embedder):
    """The text "7" has row 7 of a matrix."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        yield range(len(texts)), self.vectors[[int(text) for text in texts]]

    def identity(self) -> dict[str, Any]:
        return {"embedder": "Given"}


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 8))
def test_the_order_of_the_file_does_not_matter(seed: int, num: int, num_centres: int) -> None:
    """Shuffling the file changes neither the kept rows, nor which rows they represent, nor scores."""
    rows = [row(f"r{number}", str(number)) for number in range(num)]
    embedder = Given(unit_rows(seed, num, num_centres))
    outcomes = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            outcomes.append(Decided(Path(folder), rows, embedder=embedder).by(SemanticDeduplication(THRESHOLD)))
        random.Random(seed).shuffle(rows)
    assert outcomes[0] == outcomes[1]


MEMORY = """
import resource, sys
import numpy as np
from grsap.curation import find_near_duplicates
num = int(sys.argv[1])
draw = np.random.default_rng(0)
vectors = draw.normal(size=(num, 64)).astype(np.float32)
vectors[num // 2:] = vectors[0]  # half of them are one row: a quarter of all pairs is joined
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = find_near_duplicates(vectors, 0.85)
assert len(set(found.kept_for)) == num // 2, len(set(found.kept_for))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_pairs() -> None:
    """12,000 rows have 144 million pairs, 576 MB of products; a fifth of that is never used."""
    grown = []
    for num in (4000, 12000):
        command = [sys.executable, "-c", MEMORY, str(num)]
        source = Path(__file__).parents[2] / "src"
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(source)})
        grown.append(float(done.stdout))
    assert grown[1] < 110, grown
    assert grown[1] < grown[0] + 25, grown
