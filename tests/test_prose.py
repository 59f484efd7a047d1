"""Source and pages speak the field's English: the old dialect does not come back. CONTRIBUTING.md has the list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import grsap

ROOT = Path(grsap.__file__).parent
CLEAN = (
    "callbacks",
    "commands",
    "curation",
    "data",
    "embedding",
    "evaluation",
    "generation",
    "importing",
    "judging",
    "measurement",
    "metrics",
    "models",
    "objectives",
    "pages",
    "reporting",
    "runs",
    "similarity",
    "study",
    "synthesis",
    "text",
    "training",
    *(path.name for path in ROOT.glob("*.py")),
)
"""Folders and modules that are rewritten."""

DIALECT = {
    r"\bstands? (?!for\b)|\bstand$": "is, occurs, precedes",
    r"(go|goes|going|went) on\b(?! \{)": "continue, resume",
    r"to be had": "available",
    r"has not\b(?! \w+(ed|en|wn|un)\b)": "lacks, does not have",
    r"\btold\b(?!\":)": "reported, passed, named",
    r"\bhands? on\b|\bhanded on\b": "forward, pass",
    r"\btells\b": "names, reports, returns",
    r"of one's own": "user-defined",
    r"\bmend(s|ed)?\b": "repair, correct",
    r"\bhangs? on\b": "depends on",
    r"told_by": "a field term",
    r"\bas it stands\b": "unchanged",
    r"\bbe it\b": "or",
    r"\bSee (that|from)\b": "Check that",
    r"\bwhat is (told|known)\b": "the known values",
    r"of all that is random": "seed of all random choices",
    r"[Ff]ind what is wrong": "check",
    r"[Ww]hat became of": "the outcome, counts",
    r"\b(made|done) again\b": "computed, generated or run again",
    r"[Ww]hole or not at all(?!\.\"{3})": "atomically",
    r"\bpassed over\b": "skipped",
    r"\bis begun\b": "starts",
    r'"""Inside\b': "an imperative, and `inside the block`",
    r"\brefus(es|ed) (its|their) (settings|arguments)": "rejects",
    r"\bof its time\b": "of that checkpoint",
    r"\b(one|an?) (?!(?:of|in|for|to|from|with|by)\b)\w+ an? (row|line|request|text|token|turn|prompt)\b": "per",
    r"\bfor ever\b": "always, forever",
    r"\bmeanwhile\b": "while ..., during ...",
    r"\bbut for\b": "except",
    r"\banew\b": "again, for each ...",
    r"\bat one go\b": "at once",
}
"""Pattern -> what to write instead."""

FILES = sorted(
    path
    for name in CLEAN
    for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"))
    if path.name not in ("extraction_texts.py", "refusal_phrases.py", "rubric_judge.py")  # data and prompts
)


REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def dialect_of(text: str) -> list[str]:
    return [
        f"line {number}: {match[0].strip()!r} (write: {instead})"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, instead in DIALECT.items()
        if (match := re.search(pattern, line))
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_word_of_the_dialect(path: Path) -> None:
    found = dialect_of(path.read_text(encoding="utf-8"))
    assert not found, f"{path.relative_to(ROOT)}\n" + "\n".join(found)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_word_of_the_dialect_on_a_page(path: Path) -> None:
    """Blocks of code and output are left out, with their number of lines."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    found = dialect_of(text)
    assert not found, f"{path.name}\n" + "\n".join(found)
