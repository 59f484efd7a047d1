"""All measures of a comparison, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any, Literal

import numpy as np

from grsap.metrics import share_interval, unbounded_mean_interval
from grsap.metrics.intervals import Z95
from grsap.similarity.classifier import two_sample_test
from grsap.similarity.labels import label_divergence
from grsap.similarity.mauve import mauve, smallest_mauve
from grsap.similarity.neighbours import NUM_NEIGHBOURS, Values, coverage_if_same, kl_terms, neighbour_scores
from grsap.similarity.populations import UNLABELLED, Population
from grsap.similarity.principal import Points, principal_scores
from grsap.similarity.response_kl import ResponseLikelihoods, response_kl_bound
from grsap.similarity.subsampling import subset_deviations

View = Literal["query", "response", "exchange", "labels"]

MAUVE_SCALINGS = (5.0, 2.0)
"""The scaling factors of MAUVE's authors and of GR-SAP."""
KL_DIMENSIONS = 8
"""Principal components for the query KL. Its bias towards 0 grows with their number."""
CLASSIFIER_DIMENSIONS = 64
"""Principal components for the classifier: a few hundred rows are too few to train on all of them."""
MIN_DISTINCT = 20
"""Least number of distinct texts for a density estimate."""
MIN_LABELLED = 0.9
"""Least share of labelled rows for a comparison of labels."""


@dataclass(frozen=True)
class Measure:
    """A number of `similarity.json`; docs/formats.md says what each key means."""

    measure: str
    view: View
    population: str
    against: str | None
    value: float
    low: float | None = None
    high: float | None = None
    expected_if_same: float | None = None
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """The two sets of a comparison, and the view in which they are compared."""

    view: View
    population: str
    against: str | None

    def measure(
        self, name: str, value: float, interval: tuple[float | None, float | None] | None = None, **rest: Any
    ) -> Measure:
        """Return a measure of this pair."""
        low, high = interval or (None, None)
        return Measure(name, self.view, self.population, self.against, value, low, high, **rest)


Note = Callable[[str], None]


def text_measures(
    pair: Pair, population: Points, reference: Points, num_seeds: int, seed: int, note: Note
) -> list[Measure]:
    """Compute all measures of embeddings.

    Args:
        pair: names of the sets.
        population: (n, D) embeddings.
        reference: (n, D) embeddings of the other set.
        num_seeds: number of k-means runs of MAUVE.
        seed: seed of all random choices.
        note: called with a message for each measure that could not be estimated.
    """
    found = [
        *_mauve(pair, population, reference, num_seeds, seed),
        _classifier(pair, population, reference, seed),
        *_neighbours(pair, population, reference, seed),
    ]
    if pair.view == "query":
        found += _query_kl(pair, population, reference, seed, note)
    return found


def _mauve(pair: Pair, population: Points, reference: Points, num_seeds: int, seed: int) -> list[Measure]:
    return [
        pair.measure(
            f"mauve_c{each.scaling:g}",
            each.value,
            (each.low, each.high),
            details={
                "scaling": each.scaling,
                "smallest": smallest_mauve(each.scaling),
                "num_clusters": each.num_clusters,
                "num_seeds": num_seeds,
                "min_over_seeds": each.min_over_seeds,
                "max_over_seeds": each.max_over_seeds,
            },
        )
        for each in mauve(reference, population, MAUVE_SCALINGS, num_seeds, seed)
    ]


def _classifier(pair: Pair, population: Points, reference: Points, seed: int) -> Measure:
    points = principal_scores(np.concatenate([reference, population]), max_dimensions=CLASSIFIER_DIMENSIONS)
    test = two_sample_test(points[: len(reference)], points[len(reference) :], seed)
    return pair.measure(
        "classifier_accuracy",
        test.accuracy,
        (test.low, test.high),
        expected_if_same=0.5,
        details={
            "p_value": test.p_value,
            "num_test": test.num_test,
            "min_total_variation": test.min_total_variation,
            "min_kl_nats": test.min_kl,
        },
    )


def _neighbours(pair: Pair, population: Points, reference: Points, seed: int) -> list[Measure]:
    def means(population: Points, reference: Points) -> Values:
        return np.array([values.mean() for values in asdict(neighbour_scores(reference, population)).values()])

    deviations = subset_deviations(means, population, reference, seed)
    expected = {"density": 1.0, "coverage": coverage_if_same(len(reference), len(population))}
    found = []
    scores = asdict(neighbour_scores(reference, population))
    for (name, values), deviation in zip(scores.items(), deviations.tolist(), strict=True):
        value = float(values.mean())
        within: tuple[float, float] | None
        if name == "density":
            within, highest = unbounded_mean_interval(values.tolist(), seed=seed), float("inf")
        else:
            within, highest = share_interval(int(values.sum()), len(values)), 1.0
        if within is not None:
            # `within` is the sampling error for fixed balls; `deviation` includes the error of the balls.
            low = max(min(within[0], value - Z95 * deviation), 0.0)
            within = low, min(max(within[1], value + Z95 * deviation), highest)
        details = {"num_neighbours": NUM_NEIGHBOURS}
        found.append(pair.measure(name, value, within, expected_if_same=expected.get(name), details=details))
    return found


def _query_kl(pair: Pair, population: Points, reference: Points, seed: int, note: Note) -> list[Measure]:
    """Estimate the KL in the principal components of both sets. Equal texts are used once: they have no density."""
    p, q = np.unique(reference, axis=0), np.unique(population, axis=0)
    if min(len(p), len(q)) < MIN_DISTINCT:
        note(
            f"The query KL of {pair.population}: it needs {MIN_DISTINCT} distinct queries per side, but there are "
            f"{len(q)}, and {len(p)} on the other side"
        )
        return []
    points = principal_scores(np.concatenate([p, q]), max_dimensions=KL_DIMENSIONS)
    p, q = points[: len(p)], points[len(p) :]
    try:
        value = float(kl_terms(p, q).mean())
        half = Z95 * float(subset_deviations(lambda p, q: np.array([kl_terms(p, q).mean()]), p, q, seed)[0])
    except ValueError as error:  # vectors differ only in their last digits
        note(f"The query KL of {pair.population}: {error}")
        return []
    return [
        pair.measure(
            "query_kl_nats",
            value,
            (value - half, value + half),
            expected_if_same=0.0,
            details={
                "num_dimensions": p.shape[1],
                "num_neighbours": NUM_NEIGHBOURS,
                "num_distinct_reference": len(p),
                "num_distinct_population": len(q),
            },
        )
    ]


def label_measures(population: Population, reference: Population, seed: int, note: Note) -> list[Measure]:
    """Compute the divergence of domains and of behaviours, over all labelled rows."""
    found = []
    for key in ("domain", "behaviour"):
        sides = [[label for label in each.labels(key) if label != UNLABELLED] for each in (population, reference)]
        unlabelled = [
            f"{len(each.records) - len(side)} of {len(each.records)} rows of {each.name}"
            for each, side in zip((population, reference), sides, strict=True)
            if len(side) < MIN_LABELLED * len(each.records)
        ]
        if unlabelled:
            note(f"How the {key}s of {population.name} differ: {' and '.join(unlabelled)} are unlabelled")
            continue
        each = label_divergence(sides[0], sides[1], seed)
        if not set(sides[0]) & set(sides[1]):
            note(
                f"Whether the {key}s of {population.name} differ from the reference's or only have other names: they "
                "share no name"
            )
        found.append(
            Pair("labels", population.name, "reference").measure(
                f"{key}_js_bits",
                each.value,
                (each.low, each.high),
                expected_if_same=0.0,
                details={
                    "plug_in": each.plug_in,
                    "p_value": each.p_value,
                    "num_labelled_population": len(sides[0]),
                    "num_labelled_reference": len(sides[1]),
                },
            )
        )
    return found


def likelihood_measures(pair: Pair, likelihoods: ResponseLikelihoods, seed: int) -> list[Measure]:
    """Return the bound of the expected response KL if `pair` is the model against the reference, else mean NLLs."""
    name = "response_kl_bound_nats" if pair.against else "response_nll_nats"
    mean = response_kl_bound(likelihoods, seed)
    details = {"num_rows": len(likelihoods.nll), "num_tokens": int(likelihoods.num_tokens.sum())}
    per_token = (mean.low_per_token, mean.high_per_token)
    return [
        pair.measure(name, mean.value, (mean.low, mean.high), details=details),
        pair.measure(f"{name}_per_token", mean.value_per_token, per_token, details=details),
    ]


@dataclass(frozen=True)
class Difference:
    """Curated minus raw.

    Attributes:
        low, high: 95 % interval, combined from both intervals as if they were independent (MOVER; Zou and Donner 2008).
            Both sets share the reference and most rows, so it tends to be too wide.
        is_beyond: whether the interval excludes 0.
    """

    measure: str
    view: View
    difference: float
    low: float
    high: float
    is_beyond: bool


def differences(measures: Sequence[Measure]) -> list[Difference]:
    """Return the difference of each measure that raw and curated have, with intervals and against the same set."""
    of_raw = {(m.measure, m.view, m.against): m for m in measures if m.population == "raw"}
    found = []
    for after in measures:
        before = of_raw.get((after.measure, after.view, after.against))
        if after.population != "curated" or before is None:
            continue
        if after.low is None or after.high is None or before.low is None or before.high is None:
            continue
        difference = after.value - before.value
        low = difference - sqrt((after.value - after.low) ** 2 + (before.high - before.value) ** 2)
        high = difference + sqrt((after.high - after.value) ** 2 + (before.value - before.low) ** 2)
        found.append(Difference(after.measure, after.view, difference, low, high, low > 0 or high < 0))
    return found
