"""What a judge is called, and when its stored verdicts are reused, if its class does not say so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from grsap import judging, thoughts
from grsap.errors import ConfigError
from grsap.files import hash_file, hash_json
from grsap.judging import Exchange, Judge, RefusalMatcher, Verdict

RULES = ("refusal_matcher", "refusal_text", "refusal_phrases")
OWN = """
from grsap.judging import Judge, Verdict

class Words(Judge):
    def __init__(self, words):
        self._words, self.seen = words, 0

    def judge(self, exchanges):
        self.seen += len(exchanges)
        return [Verdict(response_harmful=any(word in each.response for word in self._words)) for each in exchanges]
"""


class Silent(Judge):
    def __init__(self, words: Sequence[str], helper: object = None) -> None:
        self.words, self.helper, self.num_seen = words, helper, 0

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        self.num_seen += len(exchanges)
        return [Verdict() for _ in exchanges]


def test_the_default_revision_follows_the_arguments_alone() -> None:
    one = Silent(["a"], object())
    before = one.revision
    one.checked_verdicts([Exchange("Who?", "Me.")])
    assert (one.num_seen, one.revision, one.identity()["revision"]) == (1, before, before)
    assert Silent(["a"], object()).revision == before
    assert Silent(["b"], object()).revision != before
    assert Silent(["a"]).revision != before
    assert one.name == "Silent"


def test_the_default_revision_follows_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    revisions = []
    for module, text in (
        ("words_one", OWN),
        ("words_two", OWN),
        ("words_three", OWN.replace("in self._words", "in []")),
    ):
        (tmp_path / f"{module}.py").write_text(text)
        revisions.append(__import__(module).Words(["a"]).revision)
    assert revisions[0] == revisions[1] != revisions[2]


def test_the_default_revision_follows_a_path() -> None:
    assert (
        Silent(["a"], Path("one")).revision
        == Silent(["a"], Path("one")).revision
        != Silent(["a"], Path("two")).revision
    )


def test_the_matchers_revision_follows_each_module_of_its_rules() -> None:
    hashes = [hash_file(Path(judging.__path__[0], f"{name}.py")) for name in RULES]
    assert RefusalMatcher.revision == hash_json([*hashes, hash_file(Path(thoughts.__file__))])


def test_a_stated_revision_stays() -> None:
    one = Silent(["a"])
    one.revision = "mine"
    assert one.revision == "mine"
    assert RefusalMatcher().revision == RefusalMatcher.revision


@pytest.mark.parametrize("labels", ['{"response_harmful", "refusal"}', '"response_harmful"', "3"])
def test_labels_that_no_verdict_has_are_refused_at_their_class(
    labels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = f"labelled_{abs(hash(labels))}"
    (tmp_path / f"{module}.py").write_text(OWN.replace("(Judge):", f"(Judge):\n    labels = {labels}"))
    told = rf"Words\.labels is .*{module}\.py, line 4\). Give a frozenset of prompt_harmful, response_"
    with pytest.raises(ConfigError, match=told):
        __import__(module)
