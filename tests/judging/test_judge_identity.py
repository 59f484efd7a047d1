"""What a judge is called, and when its stored verdicts are reused, if its class does not say so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.judging.guards import Scripted, mistral_like

from grsap import judging, thoughts
from grsap.errors import ConfigError
from grsap.files import hash_file, hash_json
from grsap.judging import Exchange, Judge, JudgePanel, RefusalMatcher, Verdict, WildGuardJudge

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


SUBCLASS = """
from grsap.judging import JudgePanel, RefusalMatcher, Verdict, WildGuardJudge

class Mine({base}):
    threshold = 1

    def judge(self, exchanges):
        return [Verdict(response_refusal=False) for _ in exchanges]
"""


def guard(kind: Any) -> Judge:
    judge: Judge = kind(Scripted(mistral_like(), lambda ids: ""))
    return judge


@pytest.mark.parametrize(
    ("built_in", "make"),
    [
        (RefusalMatcher, lambda kind: kind()),
        (WildGuardJudge, guard),
        (JudgePanel, lambda kind: kind([RefusalMatcher()])),
    ],
)
def test_a_subclass_of_a_built_in_judge_has_a_revision_of_its_own(
    built_in: type[Judge], make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = SUBCLASS.format(base=built_in.__name__)
    stating = text.replace("threshold = 1", "revision = 'mine'")
    changed = [each.replace("False", "True") for each in (text, stating)]
    revisions = []
    for number, source in enumerate((text, text, changed[0], stating, changed[1])):
        module = f"{built_in.__name__.lower()}_{number}"
        (tmp_path / f"{module}.py").write_text(source)
        judge = make(__import__(module).Mine)
        judge.prepare()
        revisions.append(judge.revision)
        judge.num_seen = 1
        judge.prepare()
        assert judge.revision == revisions[-1]
    plain = make(built_in)
    plain.prepare()
    one, same, other, stated, stated_too = revisions
    assert one == same != other
    assert stated == stated_too == ("mine" if built_in is RefusalMatcher else f"{plain.revision}+mine")
    assert len({plain.revision, one, other, stated}) == 4


def test_a_subclass_follows_the_source_of_the_class_that_it_extends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    extending = """
import importlib
class Mine(importlib.import_module(__name__.replace("extending", "extended")).Words):
    pass
"""
    revisions = []
    for number, text in enumerate((OWN, OWN, OWN.replace("in self._words", "in []"))):
        (tmp_path / f"extended_{number}.py").write_text(text)
        (tmp_path / f"extending_{number}.py").write_text(extending)
        revisions.append(__import__(f"extending_{number}").Mine(["a"]).revision)
    assert revisions[0] == revisions[1] != revisions[2]


def test_a_subclass_follows_its_arguments() -> None:
    class Lenient(RefusalMatcher):
        def __init__(self, words: Sequence[str]) -> None:
            self.words = words

    one = Lenient(["a"])
    assert one.revision == Lenient(["a"]).revision != Lenient(["b"]).revision
    one.revision = "mine"
    assert one.revision == "mine"


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
