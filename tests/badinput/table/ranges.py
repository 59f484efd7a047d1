"""Numbers of the right type that mean nothing: below the smallest, NaN, infinite. Found by walking all settings."""

from __future__ import annotations

import math
from collections.abc import Iterator

from resources.site.parsers import STAGES
from tests.badinput.case import Case, each
from tests.badinput.classes import PLACES, spec_of
from tests.badinput.walk import arguments_of, classes_of, is_numeric, options_of, settings_of

BELOW: dict[str, float] = {"negative": -3, "minus_infinity": -math.inf}
BEYOND: dict[str, float] = {"nan": math.nan, "infinity": math.inf}

MAY_BE_NEGATIVE = {
    "seed",  # any number begins a stream
    "seed_everything",
    "min_cosine",  # of opposite meanings
    "max_cosine",
}
MAY_BE_INFINITE = {
    "high",  # a perplexity without bound
    "every_s",
}
HARMLESSNESS = {"class_path": "Harmlessness", "init_args": {"allow_proxy": True}}
NEEDS: dict[str, dict[str, object]] = {
    "BenchmarkOverlap": {"embedder": {"class_path": "MiniLMEmbedder"}},
    "DomainRelevance": {"embedder": {"class_path": "MiniLMEmbedder"}},
    "SemanticDeduplication": {"embedder": {"class_path": "MiniLMEmbedder"}},
    "Revision": {"judge": {"class_path": "RefusalMatcher"}},
}
"""Class -> settings without which something else is wrong first."""


def _wrong_numbers(name: str, hint: object) -> Iterator[tuple[str, float]]:
    for kind, value in {**BELOW, **BEYOND}.items():
        if kind != "negative" and float not in options_of(hint):
            continue  # of another type
        if kind in BELOW and name in MAY_BE_NEGATIVE:
            continue
        if kind == "infinity" and name in MAY_BE_INFINITE:
            continue
        yield kind, value


def _settings() -> Iterator[Case]:
    for verb in ("fit", *STAGES):
        for key, hint in settings_of(verb):
            name = key.rpartition(".")[2]
            if is_numeric(hint):
                for kind, value in _wrong_numbers(name, hint):
                    yield Case(f"{verb}-{key}-{kind}", verb, (name,), {key: value})


def _arguments() -> Iterator[Case]:
    for (verb, key), (package, base) in PLACES.items():
        for cls in classes_of(package, base):
            for name, hint in arguments_of(cls):
                if is_numeric(hint):
                    for kind, value in _wrong_numbers(name, hint):
                        change = {**NEEDS.get(cls.__name__, {}), key: spec_of(cls, {name: value})}
                        if cls.__name__ == "Revision":
                            change = {**change, "filters": [HARMLESSNESS, spec_of(cls, {name: value})]}
                            del change[key]
                        yield Case(f"{verb}-{key}-{cls.__name__}-{name}-{kind}", verb, (name,), change)


CASES = each(2, [*_settings(), *_arguments()])
