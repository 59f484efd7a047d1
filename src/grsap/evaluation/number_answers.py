"""Parser of numeric answers."""

from __future__ import annotations

import re
from fractions import Fraction

from grsap.evaluation.statements import last_boxed, last_statement, sentences
from grsap.thoughts import split_thought

_SIGN = r"[-+−–]"
_CURRENCY = r"[$€£¥]"
_DIGITS = r"(?:\d{1,3}(?:(?:,|\{,\}|\\,|[\u00a0\u202f\u2009])\d{3})+(?![\d,]\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?<![\w.^/:,]){_CURRENCY}?\s?(?P<sign>(?<![\w)\]]\s){_SIGN})?\s?{_CURRENCY}?"
    rf"(?:\\[dt]?frac\{{(?P<top>\d+)\}}\{{(?P<bottom>\d+)\}}"
    rf"|(?:(?P<whole>\d+)\s+)?(?P<upper>\d+)\s?/\s?(?P<lower>\d+)(?![\d/])"
    rf"|(?P<plain>{_DIGITS})(?P<power>[eE][-+]?\d+)?)"
    r"(?P<bad>\s?[\^²³⁰-⁹]|\s?:\s?\d|/\d|(?:st|nd|rd|th)\b|,\d)?"
    r"(?:\s(?P<scale>thousand|million|billion)\b)?",
)
MAX_DIGITS = 100
"""Numbers of more characters, or with an exponent of more than three digits, are unparsed."""
_SCALES = {None: 1, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_NOT_STATED = re.compile(r"\b(?:not|never|cannot|neither|nor)\b|n't\b", re.IGNORECASE)


def read_number(text: str) -> str | None:
    """Return the number that a response states as a fraction (`-7/2`, `1234`); None if it states none, or several.

    The first of these that occurs decides, even if no number can be parsed from it: the last line after `####` (as in
    GSM8K); the last `\\boxed{}`; the last "answer is" or "answer:"; the last sentence with a number. It must contain
    one number, or an equation, whose right side counts. Text in brackets after the number is ignored. A comma groups
    thousands, a point is decimal, units and currencies are ignored, and `50%` is 50. Negated sentences, times, powers,
    ordinals, ranges and lists state nothing.
    """
    text = split_thought(text).answer.replace("**", " ").replace("\\!", "").replace("\\$", "$")
    text = re.sub(r"\b(?:minus|negative)\s+(?=[\d$.])", "-", text, flags=re.IGNORECASE)
    marked = re.findall(r"####[ \t]*\n?([^\n]*)", text)
    if marked:
        return _only_number(marked[-1])
    boxed = last_boxed(text)
    if boxed is not None:
        return _only_number(boxed)
    stated = last_statement(text)
    if stated is None:
        stated = next((each for each in reversed(sentences(text)) if re.search(r"\d", each)), "")
    return None if _NOT_STATED.search(stated) else _only_number(stated)


def equal_numbers(found: str, reference: str) -> bool:
    """Return whether two results of `read_number` are equal."""
    return Fraction(found) == Fraction(reference)


def _only_number(text: str) -> str | None:
    """Return the only number of a text, or of its right side if it is an equation; None if there is not exactly one."""
    text = re.sub(r"\b[^\W\d_]+\d\w*", " ", text.rpartition("=")[2] if "=" in text else text)  # names, such as CO2
    found = list(_NUMBER.finditer(text))
    if len(found) > 1:
        outside = re.sub(r"\([^()]*\)", " ", text)
        found = list(_NUMBER.finditer(outside))
        text = outside
    if len(found) != 1 or found[0]["bad"] or len(re.findall(r"\d", text)) != len(re.findall(r"\d", found[0][0])):
        return None
    if len(found[0][0]) > MAX_DIGITS or len((found[0]["power"] or "").lstrip("eE+-")) > len("999"):
        return None
    value = _value(found[0])
    return None if value is None else str(value)


def _value(match: re.Match[str]) -> Fraction | None:
    if match["top"] or match["upper"]:
        top, bottom = int(match["top"] or match["upper"]), int(match["bottom"] or match["lower"])
        if bottom == 0:
            return None
        number = int(match["whole"] or 0) + Fraction(top, bottom)
    else:
        number = Fraction(re.sub(r"[^\d.]", "", match["plain"]) + (match["power"] or ""))
    return (-1 if match["sign"] in ("-", "−", "–") else 1) * number * _SCALES[match["scale"]]
