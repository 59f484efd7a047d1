"""Values of the wrong type, in each setting of each verb and each argument of each class that settings can name.

Of every second setting the ordinary suite tries one, another for the next; all are tried in the slow tier.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from resources.site.parsers import STAGES
from tests.badinput.case import Case
from tests.badinput.classes import PLACES, spec_of
from tests.badinput.walk import accepts, arguments_of, classes_of, is_numeric, settings_of

WRONG: dict[str, Any] = {
    "words": "several words, and no number",
    "null": None,
    "list": [[1], {"a": 2}],
    "mapping": {"no_such_key": {"b": 1}},
    "fraction": 1.5,
    "nan": math.nan,
}


def _wrong_values(hint: Any) -> list[str]:
    """The names of the values that are of another type."""
    names = [name for name in WRONG if is_numeric(hint) or name not in ("fraction", "nan")]
    return [name for name in names if not accepts(hint, WRONG[name])]


def _settings() -> Iterator[tuple[str, str, str, Any, Any]]:
    """(id, verb, setting, type, how a value stands in it)."""
    for verb in ("fit", *STAGES):
        for key, hint in settings_of(verb):
            yield f"{verb}-{key}", verb, key, hint, lambda value: value
    for (verb, key), (package, base) in PLACES.items():
        for kind in classes_of(package, base):
            for name, hint in arguments_of(kind):
                yield (
                    f"{verb}-{key}-{kind.__name__}-{name}",
                    verb,
                    f"{key}/{name}",
                    hint,
                    lambda value, kind=kind, name=name: spec_of(kind, {name: value}),
                )


def _cases() -> Iterator[Case]:
    for number, (begin, verb, place, hint, value_at) in enumerate(_settings()):
        key, _, argument = place.partition("/")
        names = _wrong_values(hint)
        for index, name in enumerate(names):
            is_slow = number % 2 > 0 or index != number // 2 % len(names)
            yield Case(f"{begin}-{name}", verb, (argument or key,), {key: value_at(WRONG[name])}, slow=is_slow)


CASES = list(_cases())
