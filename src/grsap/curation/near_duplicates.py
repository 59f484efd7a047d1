"""Near-duplicates by exact cosine: the rows to keep, and the kept row that represents each removed one.

Shapes: N rows, D dimensions. Memory beyond the (N, D) matrix: a few numbers per row, and one block of products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from grsap.embedding.base import Embeddings

BLOCK = 1024
"""Rows and columns per block of the product."""


@dataclass(frozen=True)
class NearDuplicates:
    """The kept rows of N.

    Attributes:
        kept_for: (N,) the kept row that represents each row; a kept row represents itself.
        cosine: (N,) cosine with that row; 1 for kept rows.
        nearest: (N,) the greatest cosine with any other row; -1 if there is none.
    """

    kept_for: NDArray[np.intp]
    cosine: NDArray[np.float64]
    nearest: NDArray[np.float64]


def find_near_duplicates(
    vectors: Embeddings, max_cosine: float, advance: Callable[[int], None] = lambda items: None
) -> NearDuplicates:
    """Keep the medoid of each cluster of rows that are more alike than `max_cosine`.

    Two rows with a greater cosine are neighbours; clusters are the connected components. The medoid of a cluster is the
    row with the greatest sum of cosines to its neighbours. It is kept, and its neighbours are removed. The same is
    repeated on the rest of the cluster. So no two kept rows are neighbours, and each removed row is a neighbour of the
    row that represents it. Among equal sums the first row is the medoid: sort the rows, such as by id, and the result
    does not depend on the order of the file.

    Args:
        vectors: (N, D), unit rows.
        max_cosine: greatest cosine of two kept rows.
        advance: called with the number of rows of the product that are done.
    """
    num = len(vectors)
    kept_for = np.arange(num)
    cosine = np.ones(num)
    labels, nearest = _clusters(vectors, max_cosine, advance)
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(labels[order]) != 0]) if num else np.zeros(0, np.intp)
    for members in np.split(order, starts[1:]):
        if len(members) > 1:
            _resolve(vectors, members, max_cosine, kept_for, cosine)
    return NearDuplicates(kept_for, cosine, nearest)


def _clusters(
    vectors: Embeddings, max_cosine: float, advance: Callable[[int], None]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return (N,) label of each row's cluster, and (N,) its greatest cosine with another row."""
    num = len(vectors)
    labels = np.arange(num, dtype=np.int32)
    nearest = np.full(num, -1.0)
    for top in range(0, num, BLOCK):
        rows = slice(top, min(top + BLOCK, num))
        for left in range(top, num, BLOCK):
            columns = slice(left, min(left + BLOCK, num))
            products = vectors[rows] @ vectors[columns].T
            if left == top:
                np.fill_diagonal(products, -1)
            nearest[rows] = np.maximum(nearest[rows], products.max(axis=1))
            nearest[columns] = np.maximum(nearest[columns], products.max(axis=0))
            joined = products > max_cosine
            if joined.any():
                rows_joined, columns_joined = np.nonzero(joined)
                labels = _joined(labels, rows_joined + top, columns_joined + left)
        advance(rows.stop - top)
    return labels, np.clip(nearest, -1, 1)


def _joined(labels: NDArray[np.int32], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.int32]:
    """Return the labels after merging the clusters of neighbours."""
    ends = labels[rows], labels[columns]
    differ = ends[0] != ends[1]
    if not differ.any():
        return labels
    ends = ends[0][differ], ends[1][differ]
    names, places = np.unique(np.concatenate(ends), return_inverse=True)
    pairs = np.split(places, 2)
    graph = coo_array((np.ones(len(pairs[0]), bool), (pairs[0], pairs[1])), shape=(len(names), len(names)))
    num_components, component = connected_components(graph, directed=False)
    first = np.full(num_components, len(labels), np.int32)
    np.minimum.at(first, component, names)
    renamed = np.arange(len(labels), dtype=np.int32)
    renamed[names] = first[component]
    return renamed[labels]


def _resolve(
    vectors: Embeddings,
    members: NDArray[np.intp],
    max_cosine: float,
    kept_for: NDArray[np.intp],
    cosine: NDArray[np.float64],
) -> None:
    """Choose medoids of one cluster until none of its rows is left. Each pair is computed at most twice."""
    sums = _joined_sums(vectors[members], vectors[members], max_cosine)
    left = np.ones(len(members), bool)
    while left.any():
        medoid = int(np.flatnonzero(left)[np.argmax(sums[left])])
        products = vectors[members] @ vectors[members[medoid]]
        goes = left & (products > max_cosine)
        goes[medoid] = True
        kept_for[members[goes]] = members[medoid]
        cosine[members[goes]] = np.clip(products[goes], -1, 1)
        cosine[members[medoid]] = 1.0
        left &= ~goes
        if left.any():
            sums[left] -= _joined_sums(vectors[members[left]], vectors[members[goes]], max_cosine)


def _joined_sums(vectors: Embeddings, others: Embeddings, max_cosine: float) -> NDArray[np.float64]:
    """Return (M,) sum of each row's cosines above `max_cosine` with the others, including itself if it is one."""
    sums = np.zeros(len(vectors))
    for top in range(0, len(vectors), BLOCK):
        for left in range(0, len(others), BLOCK):
            products = vectors[top : top + BLOCK] @ others[left : left + BLOCK].T
            # Rounded to five decimals: the last digits of a product depend on its place in a block.
            sums[top : top + BLOCK] += np.where(products > max_cosine, np.rint(products * 1e5), 0).sum(
                axis=1, dtype=np.float64
            )
    return sums
