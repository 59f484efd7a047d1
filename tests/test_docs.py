"""README and docs: the commands in ```bash blocks exist with their options, and so do the files that are named."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from grsap.cli import VERBS
from grsap.commands.invocation import read_invocation
from grsap.embedded import PREFIX, resolve

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"])
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES_OWN = re.compile(r"^```\w+ (\S+\.\w+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
# Files that a reader makes; the text around the command says so.
READERS_OWN = ("my_", "my.", "runs/", "path/to/")
KNOWN_PROGRAMS = {
    "grsap",
    "make",
    "pip",
    "git",
    "cd",
    "cat",
    "curl",
    "python",
    "python3",
    "kill",
    "timeout",
    "cmp",
    "true",
    "wget",
    "ls",
    "source",
    "export",
}


def commands(page: Path) -> Iterator[list[str]]:
    """The commands of a page's bash blocks as words; comments, prompts and redirections are left out."""
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            text = line.removeprefix("$ ").strip()
            for part in re.split(r"\s*(?:&&|\|\||\||;)\s*", text):
                words = shlex.split(part, comments=True)
                words = words[
                    : next((n for n, word in enumerate(words) if word.startswith((">", "<", "&"))), len(words))
                ]
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    words = words[1:]
                if words:
                    yield words


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


ALL_COMMANDS = [(page, words) for page in PAGES for words in commands(page)]


def ids(value: object) -> str:
    return value.name if isinstance(value, Path) else " ".join(value)[:60] if isinstance(value, list) else str(value)


def test_readme_begins_with_the_two_commands() -> None:
    words = [" ".join(each) for each in commands(ROOT / "README.md")]
    assert words[:2] == ["make quickstart", "make test"]


@pytest.mark.parametrize(("page", "words"), ALL_COMMANDS, ids=ids)
def test_a_command_exists(page: Path, words: list[str]) -> None:
    program = Path(words[0]).name
    assert program in KNOWN_PROGRAMS, f"{page.name}: {words[0]} is not known to this test"
    if program == "make":
        targets = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        assert set(targets) <= make_targets()
    if program == "grsap" and words[1:] and not words[1].startswith("-"):
        assert words[1] in VERBS
        if VERBS[words[1]].module.endswith(".fit"):
            read_invocation(words[1], words[2:])


@pytest.mark.parametrize(
    ("page", "words"), [pair for pair in ALL_COMMANDS if Path(pair[1][0]).name == "grsap"], ids=ids
)
def test_files_of_a_command_exist(page: Path, words: list[str]) -> None:
    own = PAGES_OWN.findall(page.read_text(encoding="utf-8"))
    for word in words[1:]:
        value = word.partition("=")[2] if word.startswith("--") else word
        if value.startswith(PREFIX):
            assert "/" not in value or resolve(value).exists()
        elif re.search(r"\.(ya?ml|jsonl|py|csv)$", value) and not value.startswith(READERS_OWN) and value not in own:
            assert (ROOT / value).is_file() or (ROOT / "examples" / value).is_file(), value


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists() and not target.startswith("mailto:")]
    assert missing == []


@pytest.mark.parametrize(
    "target",
    [
        "setup",
        "quickstart",
        "quickstart-plain",
        "paper-mini",
        "paper-full",
        "test",
        "test-all",
        "test-vllm",
        "check",
        "bench-quick",
        "bench",
        "help",
    ],
)
def test_make_targets_are_listed(target: str) -> None:
    assert target in make_targets()
