"""A raw file with faults planted in it: their places are drawn from a seed, and the right outcome of each is known.

Requests are the quickstart's; answers are refusals, and an unsafe answer contains a nonsense word that the test's judge
knows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from tests.curation.conftest import ANSWER, row

from grsap.embedded import resolve
from grsap.embedding import MiniLMEmbedder
from grsap.records import read_jsonl
from grsap.synthesis import load_domains

MAX_COSINE = 0.85
MIN_DOMAIN_COSINE = 0.2
FORGED = ("<|im_end|>", "<|eot_id|>", "[/INST]", "<end_of_turn>", "</s>")
UNSAFE = "Sure, this is how you zorble it, step by step."


@dataclass
class Planted:
    """Raw rows in order, and for each id the reason to reject it; None if it must be kept.

    Of the rows of a cluster one must stay, whichever.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    reasons: dict[str, str | None] = field(default_factory=dict)
    clusters: list[set[str]] = field(default_factory=list)


@cache
def material() -> tuple[list[tuple[str, str]], list[tuple[str, str]], list[str]]:
    """(query, domain) pairs that are on their domain and unlike one another, pairs that are off it, and benchmark
    prompts: all chosen with a margin by cosine, so that the right decision of a filter is beyond doubt."""
    embedder = MiniLMEmbedder()
    prompts = [text for text, _, _ in _requests("probes.jsonl", {"harmful"}) if len(text.split()) >= 12]
    pool = list(_requests("alignment.jsonl", {"refusal"}))[::2]
    ordinary = [text for text, _, _ in _requests("alignment.jsonl", {"ordinary"})]
    domains = {each.name: f"{each.name}: {each.definition}" for each in load_domains()}
    names = list(domains)
    theirs = embedder.embed(list(domains.values()))
    benchmark = embedder.embed(prompts)
    likeness = (benchmark * embedder.embed([reworded(text) for text in prompts])).sum(axis=1)
    vectors = embedder.embed([text for text, _, _ in pool])
    chosen: list[int] = []
    for place, (_, domain, _) in enumerate(pool):
        is_on = vectors[place] @ theirs[names.index(domain)] > MIN_DOMAIN_COSINE + 0.03
        is_alone = not chosen or (vectors[chosen] @ vectors[place]).max() < MAX_COSINE - 0.07
        if is_on and is_alone and (benchmark @ vectors[place]).max() < 0.8:
            chosen.append(place)
    good = [(pool[place][0], pool[place][1]) for place in chosen]
    others = embedder.embed(ordinary)
    off: list[tuple[str, str]] = []
    for place, text in enumerate(ordinary):
        far = int(np.argmin(others[place] @ theirs.T))
        is_alone = (others[:place] @ others[place]).max(initial=0) < MAX_COSINE - 0.1
        if others[place] @ theirs[far] < MIN_DOMAIN_COSINE - 0.05 and is_alone:
            off.append((text, names[far]))
    return good, off, [text for text, cosine in zip(prompts, likeness, strict=True) if cosine > 0.94]


def _requests(name: str, kinds: set[str]) -> Iterator[tuple[str, str, str]]:
    for _, each in read_jsonl(resolve(f"embedded:quickstart/{name}")):
        kind = "ordinary" if each["domain"] == "ordinary" else each.get("subset") or each["behaviour"]
        if kind in kinds:
            users = [turn["content"] for turn in each["messages"] if turn["role"] == "user"]
            yield users[-1], each["domain"], kind


def plant(seed: int) -> Planted:
    """40 near-duplicates, 30 rows off their domain, 20 unsafe answers, 15 cut ones, 10 with forged control tokens, 5
    without a text, 12 of a benchmark, and 60 good rows."""
    draw = random.Random(seed)
    good, off, prompts = material()
    queries = draw.sample(good, 60 + 20 + 15 + 10 + 5)
    planted = Planted()
    counter = iter(draw.sample(range(10_000), 300))

    def add(reason: str | None, query: str | None, domain: str, **changes: Any) -> str:
        each = row(f"row-{next(counter):04d}", query, domain=domain, **changes)
        planted.rows.append(each)
        planted.reasons[each["id"]] = reason
        return str(each["id"])

    originals = [(add(None, query, domain), query, domain) for query, domain in take(queries, 60)]
    clusters: dict[str, set[str]] = {}
    for _ in range(40):
        first, query, domain = draw.choice(originals)
        cluster = clusters.setdefault(first, {first})
        cluster.add(add("near_duplicate", copies(query)[len(cluster) % 7], domain))
        if len(cluster) == 7:
            originals = [each for each in originals if each[0] != first]
    planted.clusters = list(clusters.values())
    for query, domain in draw.sample(off, 30):
        add("off_domain", query, domain)
    for query, domain in take(queries, 20):
        add("harmful_response", query, domain, response=UNSAFE)
    for query, domain in take(queries, 15):
        add("cut_by_length", query, domain, finish_reason="length", response=ANSWER[: draw.randrange(20, 50)])
    for query, domain in take(queries, 10):
        token = draw.choice(FORGED)
        place = draw.choice(["query", "response"])
        add(
            "control_tokens",
            f"{query} {token}" if place == "query" else query,
            domain,
            response=f"{ANSWER} {token}" if place == "response" else ANSWER,
        )
    for query, domain in take(queries, 5):
        blank = draw.choice([None, "", "  \n"])
        in_query = draw.random() < 0.5
        add("null_text", blank if in_query else query, domain, response=ANSWER if in_query else blank)
    for number, prompt in enumerate(draw.sample(prompts, 12)):
        if number < 8:
            add("benchmark_words", f"One more thing. {prompt}", "theft")
        else:
            add("benchmark_meaning", reworded(prompt), "theft")
    draw.shuffle(planted.rows)
    return planted


def take(queries: list[tuple[str, str]], num: int) -> Sequence[tuple[str, str]]:
    taken, queries[:] = queries[:num], queries[num:]
    return taken


def copies(query: str) -> list[str]:
    """The query and six near-duplicates of it."""
    return [
        query,
        f"Please: {query}",
        f"{query} Thanks.",
        query.upper(),
        f"Hi! {query}",
        f"{query} Please answer.",
        f"Tell me. {query}",
    ]


def reworded(prompt: str) -> str:
    """The prompt with a filler after every sixth word, where "can't" is two: no eight words in a row are its own."""
    return re.sub(r"((?:\w+\W+){6})", r"\1please ", prompt)
