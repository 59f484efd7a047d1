"""All numbers of one comparison, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any, Literal

import numpy as np

from grsap.metrics import bootstrap_interval, wilson_interval
from grsap.metrics.intervals import Z95
from grsap.similarity.classifier import two_sample_test
from grsap.similarity.labels import label_divergence
from grsap.similarity.mauve import mauve, smallest_mauve
from grsap.similarity.neighbours import NUM_NEIGHBOURS, Values, coverage_if_same, kl_terms, neighbour_scores
from grsap.similarity.populations import UNLABELLED, Population
from grsap.similarity.principal import Points, principal_scores
from grsap.similarity.response_kl import ResponseLikelihoods, response_kl_bound
from grsap.similarity.subsampling import subset_deviations

View = Literal["query", "response", "labels"]

MAUVE_SCALINGS = (5.0, 2.0)
"""That of MAUVE's authors, and GR-SAP's."""
KL_DIMENSIONS = 8
"""Principal components in which the query KL is estimated: in more, its lean towards 0 grows."""
CLASSIFIER_DIMENSIONS = 64
"""Principal components that the classifier sees: with all of them, some hundred rows are too few to train on."""
MIN_DISTINCT = 20
"""Distinct texts that a density estimate needs."""
MIN_LABELLED = 0.9
"""Share of rows that must have a label, for shares to be compared."""


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

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the file."""
        return asdict(self)


@dataclass(frozen=True)
class Pair:
    """What is compared with what, in which view."""

    view: View
    population: str
    against: str | None

    def measure(self, name: str, value: float, interval: tuple[float, float] | None = None, **rest: Any) -> Measure:
        """A number of this pair."""
        low, high = interval or (None, None)
        return Measure(name, self.view, self.population, self.against, value, low, high, **rest)


Note = Callable[[str], None]


def text_measures(
    pair: Pair, population: Points, reference: Points, num_seeds: int, seed: int, note: Note
) -> list[Measure]:
    """All measures of embeddings.

    Args:
        pair: names the sets.
        population: (n, D) embeddings.
        reference: (n, D) of the other set.
        num_seeds: k-means runs of MAUVE.
        seed: of all that is random.
        note: called with what could not be estimated.
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
        if name == "density":
            within, highest = bootstrap_interval(values.tolist(), seed=seed), float("inf")
        else:
            within, highest = wilson_interval(int(values.sum()), len(values)), 1.0
        # Given the balls, rows vary as in any mean; the balls vary too, which most often is more.
        low = max(min(within[0], value - Z95 * deviation), 0.0)
        high = min(max(within[1], value + Z95 * deviation), highest)
        details = {"num_neighbours": NUM_NEIGHBOURS}
        found.append(
            pair.measure(name, value, (low, high), expected_if_same=expected.get(name), details=details),
        )
    return found


def _query_kl(pair: Pair, population: Points, reference: Points, seed: int, note: Note) -> list[Measure]:
    """In the principal components of both sets; equal texts, to which no density belongs, are taken once."""
    p, q = np.unique(reference, axis=0), np.unique(population, axis=0)
    if min(len(p), len(q)) < MIN_DISTINCT:
        note(
            f"The query KL of {pair.population}: it needs {MIN_DISTINCT} distinct queries a side, and found "
            f"{len(q)} of it and {len(p)} of the other side"
        )
        return []
    points = principal_scores(np.concatenate([p, q]), max_dimensions=KL_DIMENSIONS)
    p, q = points[: len(p)], points[len(p) :]
    try:
        value = float(kl_terms(p, q).mean())
        half = Z95 * float(subset_deviations(lambda p, q: np.array([kl_terms(p, q).mean()]), p, q, seed)[0])
    except ValueError as error:  # vectors that differ in their last digits only
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
    """Divergence of domains and behaviours, over all rows that have one."""
    found = []
    for key in ("domain", "behaviour"):
        sides = [[label for label in each.labels(key) if label != UNLABELLED] for each in (population, reference)]
        unlabelled = [
            f"{len(each.records) - len(side)} of {len(each.records)} rows of {each.name}"
            for each, side in zip((population, reference), sides, strict=True)
            if len(side) < MIN_LABELLED * len(each.records)
        ]
        if unlabelled:
            note(f"How {key}s of {population.name} differ: {' and '.join(unlabelled)} have none")
            continue
        each = label_divergence(sides[0], sides[1], seed)
        if not set(sides[0]) & set(sides[1]):
            note(
                f"Whether the {key}s of {population.name} are others than the reference's or only named otherwise: "
                "they share no name"
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
    """The bound of the expected response KL where `pair` is the model against the reference, else the plain means."""
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
        low, high: 95 % interval from those of both (MOVER; Zou and Donner 2008), taken as independent: the two share
            the reference and most rows, so that it is rather too wide.
        is_beyond: whether 0 lies outside.
    """

    measure: str
    view: View
    difference: float
    low: float
    high: float

    @property
    def is_beyond(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {**asdict(self), "is_beyond": self.is_beyond}


def differences(measures: Sequence[Measure]) -> list[Difference]:
    """Of each measure that raw and curated both have, with an interval and against the same."""
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
        found.append(Difference(after.measure, after.view, difference, low, high))
    return found
