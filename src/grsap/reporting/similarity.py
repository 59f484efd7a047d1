"""The section on a similarity: each estimate with its interval, and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grsap.pages import Content, Section, element, table, with_interval
from grsap.pages.numbers import MISSING, count, number
from grsap.reporting.sources import Source, reading

Row = Mapping[str, Any]

WORDS: dict[str, str] = {
    "mauve_c5": "MAUVE, scaling 5 (1: the same)",
    "mauve_c2": "MAUVE, scaling 2 (1: the same)",
    "classifier_accuracy": "accuracy of a classifier (0.5: the same)",
    "precision": "precision: near the reference",
    "density": "density: near the reference",
    "recall": "recall: of the reference",
    "coverage": "coverage: of the reference",
    "query_kl_nats": "query KL divergence, nats (biased towards 0)",
    "domain_js_bits": "domains: Jensen-Shannon divergence, bits",
    "behaviour_js_bits": "behaviours: Jensen-Shannon divergence, bits",
    "response_kl_bound_nats": "response KL divergence, nats: upper bound",
    "response_kl_bound_nats_per_token": "response KL divergence, nats per token: upper bound",
    "response_nll_nats": "negative log-likelihood, nats (not a divergence)",
    "response_nll_nats_per_token": "negative log-likelihood, nats per token (not a divergence)",
}


def similarity(source: Source, place: int) -> list[Section]:
    """Return the section of a similarity; see `evaluation`."""
    with reading(source):
        result = source.result
        content: list[Content] = [_populations(result), _measures(result), _differences(result), _limits(result)]
        return [Section(f"similarity-{place}", f"Similarity: {source.name}", content)]


def _populations(result: Row) -> Content:
    rows: list[list[Content]] = []
    for name, each in result["populations"].items():
        domains = each["effective_num_domains"]
        numbers = [each["num_rows"], each["num_distinct_queries"], each["num_distinct_responses"]]
        rows.append([name, *map(count, numbers), number(domains, 3)])
    caption = (
        f"The compared sets. Each comparison of embeddings uses {count(result['num_rows_compared'])} rows per set, "
        "because the estimates depend on the number of rows. Effective domains: 2 to the power of the entropy (bits) "
        "of the domains' shares; it is the number of domains if all are equally frequent."
    )
    return table(caption, ["set", "rows", "distinct queries", "distinct responses", "effective domains"], rows)


def _measures(result: Row) -> Content:
    pairs = list(dict.fromkeys((row["population"], row["against"]) for row in result["measures"]))
    rows: list[list[Content]] = []
    for view, measure in dict.fromkeys((row["view"], row["measure"]) for row in result["measures"]):
        mine = [row for row in result["measures"] if (row["view"], row["measure"]) == (view, measure)]
        cells = {(row["population"], row["against"]): _cell(row) for row in mine}
        expected = next((row["expected_if_same"] for row in mine if row["expected_if_same"] is not None), None)
        rows.append(
            [
                view,
                WORDS.get(measure, measure.replace("_", " ")),
                *(cells.get(pair, "") for pair in pairs),
                number(expected, 3) if expected is not None else "",
            ]
        )
    headings = ["part of the row", "estimate", *(_pair_words(*pair) for pair in pairs), "value of equal sets"]
    caption = (
        "Estimates, with 95 % intervals of the sampling error in small print. “Against itself” compares two halves of "
        "one set: the value for two samples of one distribution at this number of rows. “Value of equal sets” is the "
        "theoretical value for two sets of one distribution."
    )
    return table(caption, headings, rows, text_columns=2)


def _cell(row: Row) -> Content:
    if row["low"] is None or row["high"] is None:
        return number(row["value"], 3)
    return with_interval(number(row["value"], 3), f"{number(row['low'], 3)} to {number(row['high'], 3)}")


def _pair_words(population: str, against: str | None) -> str:
    return population if against is None else f"{population} against {against}"


def _differences(result: Row) -> Content:
    rows: list[list[Content]] = [
        [
            row["view"],
            WORDS.get(row["measure"], row["measure"]),
            number(row["difference"], 3),
            MISSING if row["low"] is None else f"{number(row['low'], 3)} to {number(row['high'], 3)}",
            "yes" if row["is_beyond"] else "no",
        ]
        for row in result["differences"]
    ]
    if not rows:
        return None
    caption = (
        "Difference: curated set minus raw set, with its 95 % interval. Beyond chance: the interval excludes 0; if the "
        "sets do not differ, this happens for one in twenty estimates."
    )
    return table(
        caption, ["part of the row", "estimate", "difference", "95 % interval", "beyond chance"], rows, text_columns=2
    )


def _limits(result: Row) -> Content:
    lines: Sequence[str] = result["cannot_know"]
    if not lines:
        return None
    return [
        element("h3", "What these estimates cannot show"),
        element("ul", [element("li", f"{line}.") for line in lines]),
    ]
