"""Parser of multiple-choice answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from grsap.evaluation.statements import last_boxed, last_statement
from grsap.thoughts import split_thought

_ENDS = r"(?=\s*(?:$|[\n.,;:)\]}\"'`*!–]|\s-\s|-(?:\s|$)|\(|(?:because|since|as|which|due)\b))"
"""What may follow a label; excludes the article in "A sensible plan"."""
_REJECTED_AFTER = re.compile(r"[)\]\s]*(?:(?:is|are|was|would be)(?:\s+not\b|n't\b|\s+(?:wrong|incorrect|false)\b))")
_NEGATION = re.compile(r"\b(?:not|never|neither|nor|non|without|rather than|instead of)\b|n't\b", re.IGNORECASE)
_REACH = 200
_CLAUSE_END = re.compile(r"[,.;:!?\n]|\bbut\b", re.IGNORECASE)


def read_choice(text: str, labels: Sequence[str], choices: Sequence[str] = ()) -> str | None:
    """Return the label that a response states; None if it states none, or more than one.

    Letters (`A`, `B`): the first of these patterns that names a label decides; several labels in it are ambiguous. The
    last `\\boxed{}`; the last "answer is" or "answer:"; lines that are or begin with a label (`B`, `(C)`, `D) text`);
    "option B", "pick B", "B is correct"; labels in brackets. A lower-case letter counts only where it cannot be a
    word. A label that is called wrong, or follows "not", does not count. A response that is equal to a choice's text
    names its label.

    Words (`positive`): the only label that the last statement, or else the response, names and does not negate. A
    negation extends to the end of its clause: "not positive, negative" is negative, "not negative" names none.

    Args:
        text: the response.
        labels: possible answers; letters if all are one character long.
        choices: the texts behind the labels.
    """
    text = split_thought(text).answer.replace("**", "").strip()
    if any(len(label) > 1 for label in labels):
        return _only(_words(last_statement(text) or "", labels) or _words(text, labels))
    letters = {label.upper(): label for label in labels}
    for named in _letters(text, "".join(letters)):
        if named:
            return _only({letters[letter] for letter in named})
    return _only({label for label, choice in zip(labels, choices, strict=False) if _plain(choice) == _plain(text)})


def _only(named: set[str]) -> str | None:
    """Return the label of a set of one; None for other sets."""
    return next(iter(named)) if len(named) == 1 else None


def _letters(text: str, labels: str) -> Iterator[set[str]]:
    """Yield the labels that each kind of statement names, the strongest kind first."""
    letter = f"[{labels}{labels.lower()}]"
    boxed = last_boxed(text)
    if boxed is not None:
        yield _upper(re.findall(rf"^(?:\\text\w*\{{)?\(?({letter})\b{_ENDS}", boxed))
    stated = last_statement(text)
    if stated is not None:
        yield _in_statement(stated, labels)
    # "A: Paris" may mean "Answer: Paris".
    begins = r"(?:[.:](?=\s|$)|(?<=[)\]])|\s[–-]\s|[\"'`!]*\s*$)(?<!A:(?=[^\n]*\w))"
    lines = rf"^[\s>#-]*[(\[\"'`]?({letter})[)\]]?{begins}"
    yield _not_rejected(re.finditer(lines, text, re.MULTILINE), text)
    picks = r"\b(?:option|choice|choose|pick|select|go with)\b(?: is| option| choice)?[:\s]+[(\[]?"
    right = r"\b[)\]]? (?:is|would be|must be|seems)(?: the)? (?:most )?(?:correct|right|best|likely)\b"
    mentions = rf"(?:(?i:{picks})([{labels}])\b{_ENDS}|\b([{labels}]){right})"
    yield _not_rejected(re.finditer(mentions, text), text)
    yield _not_rejected(re.finditer(rf"[(\[]([{labels}])[)\]]", text), text)


def _in_statement(stated: str, labels: str) -> set[str]:
    """Return the labels at the beginning of a statement ("B", "(b)", "option B or C"), or else in brackets."""
    sure = "".join(label for label in labels if label not in "AI")
    label = rf"(?:([{labels}{labels.lower()}])\b{_ENDS}|([{sure or '#'}])\b(?![-'’]\w))"
    head = re.match(rf"(?:(?i:option|choice|letter)\s+)?[(\[\"'`]?{label}", stated)
    if head is None:
        return _not_rejected(re.finditer(rf"[(\[]([{labels}])[)\]]", stated), stated)
    others = re.findall(rf"(?:\bor|\band|[/,&])\s*(?:option\s+)?[(\[]?([{labels}])\b{_ENDS}", stated[head.end() :])
    return _upper([head[1] or head[2], *others])


def _upper(letters: Iterable[str]) -> set[str]:
    return {letter.upper() for letter in letters}


def _not_rejected(mentions: Iterable[re.Match[str]], text: str) -> set[str]:
    """Return the labels of mentions that the text does not call wrong."""
    return {
        (mention[1] or mention[mention.lastindex or 1]).upper()
        for mention in mentions
        if not _REJECTED_AFTER.match(text, mention.end()) and not _is_negated(text, mention.start())
    }


def _words(text: str, labels: Sequence[str]) -> set[str]:
    """Return the labels that a text names and does not negate."""
    longest_first = sorted(labels, key=len, reverse=True)
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, longest_first)) + r")\b", re.IGNORECASE)
    known = {label.lower(): label for label in labels}
    return {known[found[1].lower()] for found in pattern.finditer(text) if not _is_negated(text, found.start())}


def _is_negated(text: str, place: int) -> bool:
    """Return whether a negation precedes `place` in its clause, at most `_REACH` characters away."""
    before = text[max(0, place - _REACH) : place]
    begin = max((end.end() for end in _CLAUSE_END.finditer(before)), default=0)
    return _NEGATION.search(before, begin) is not None


def _plain(text: str) -> str:
    return " ".join(text.lower().strip(" .\"'`").split())
