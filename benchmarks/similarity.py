"""What `grsap similarity` reports on distributions whose answer is known: the table of docs/similarity.md.

    python benchmarks/similarity.py

Two sets of n rows are drawn again and again from unit Gaussians in 8 dimensions whose means lie a distance apart, and
given to the very function that the command gives its embeddings to; labels are drawn from known shares. For each
number: the truth, the mean and the standard deviation of what is reported, half the reported interval over 1.96 (which
should be that standard deviation, or more), and in how many of the draws the interval lies over the truth. About three
minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import norm

from grsap.similarity import coverage_if_same, js_bits, label_divergence, smallest_mauve
from grsap.similarity.measures import Pair, text_measures

DIMENSIONS = 8
FAR = 60.0
PAIR = Pair("query", "population", "reference")
Truth = Callable[[float, int], float | None]

TRUTHS: dict[str, Truth] = {
    "mauve_c5": lambda shift, num: {0.0: 1.0, FAR: smallest_mauve(5.0)}.get(shift),
    "mauve_c2": lambda shift, num: {0.0: 1.0, FAR: smallest_mauve(2.0)}.get(shift),
    "classifier_accuracy": lambda shift, num: float(norm.cdf(shift / 2)),
    "density": lambda shift, num: {0.0: 1.0, FAR: 0.0}.get(shift),
    "coverage": lambda shift, num: {0.0: coverage_if_same(num, num), FAR: 0.0}.get(shift),
    "precision": lambda shift, num: {FAR: 0.0}.get(shift),
    "recall": lambda shift, num: {FAR: 0.0}.get(shift),
    "query_kl_nats": lambda shift, num: None if shift == FAR else shift**2 / 2,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    print("| measure | case | n | truth | mean | sd | interval / 1.96 | over the truth |")
    print("|---|---|---|---|---|---|---|---|")
    for num in arguments.rows:
        draws = max(5, arguments.draws * 200 // num)
        for line in [*gaussians(num, draws), *labels(num, 3 * draws)]:
            print(line, flush=True)


def gaussians(num: int, draws: int) -> Iterator[str]:
    for shift in (0.0, 1.0, 2.0, FAR):
        random = np.random.default_rng(0)
        away = shift * np.eye(DIMENSIONS)[0]
        found: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(draws):
            reference, population = (random.normal(size=(num, DIMENSIONS)) for _ in range(2))
            for measure in text_measures(PAIR, population + away, reference, 3, seed, lambda note: None):
                assert measure.low is not None
                assert measure.high is not None
                found.setdefault(measure.measure, []).append((measure.value, measure.low, measure.high))
        case = {0.0: "one distribution", FAR: "nothing in common"}.get(shift, f"means {shift:g} apart")
        for name, values in found.items():
            yield row(name, case, num, TRUTHS[name](shift, num), values)


def labels(num: int, draws: int) -> Iterator[str]:
    equal, rising = np.full(38, 1 / 38), np.arange(1, 39) / 741
    for case, other in (("38 equal shares, both", equal), ("38 equal shares, and 1 : 2 : ... : 38", rising)):
        random = np.random.default_rng(0)
        found = []
        for seed in range(draws):
            a, b = ([str(label) for label in random.choice(38, num, p=p)] for p in (equal, other))
            each = label_divergence(a, b, seed)
            found.append((each.value, each.low, each.high))
        yield row("domain_js_bits", case, num, float(js_bits(equal, other)), found)


def row(name: str, case: str, num: int, truth: float | None, values: list[tuple[float, float, float]]) -> str:
    estimates, low, high = np.array(values).T
    told = (
        ["-", "-"]
        if truth is None
        else [f"{truth:.3f}", f"{((low - 1e-4 <= truth) & (truth <= high + 1e-4)).sum()} of {len(values)}"]
    )
    spread = f"{estimates.std(ddof=1):.3f} | {((high - low) / 2 / 1.96).mean():.3f}"
    return f"| `{name}` | {case} | {num} | {told[0]} | {estimates.mean():.3f} | {spread} | {told[1]} |"


if __name__ == "__main__":
    main()
