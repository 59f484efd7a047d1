"""Several judges as one, and how far they agree."""

from __future__ import annotations

import numpy as np
import pytest
from tests.judging.guards import Scripted, always, mistral_like

from grsap.errors import ConfigError
from grsap.judging import (
    Agreement,
    Exchange,
    Judge,
    JudgePanel,
    RefusalMatcher,
    Verdict,
    WildGuardJudge,
    cohens_kappa,
    pairwise_agreement,
)

WHO = Exchange("Who?", "I can't help with that.")


class Says(Judge):
    """Says one thing of everything; None as a label means unparsed."""

    def __init__(self, name, harmful, labels=("response_harmful",)):
        self.name, self.harmful, self.labels = name, harmful, frozenset(labels)
        self.released = []

    def judge(self, exchanges):
        return [Verdict(response_harmful=self.harmful, raw=f"{self.name} says") for _ in exchanges]

    def release(self, device):
        self.released.append(device)


def decide(rule, *said):
    panel = JudgePanel([Says(f"j{number}", value) for number, value in enumerate(said)], rule)
    return panel.judge([WHO])[0].response_harmful


@pytest.mark.parametrize(
    ("said", "majority", "any_"),
    [
        ((True,), True, True),
        ((None,), None, None),
        ((True, True, False), True, True),
        ((True, False, False), False, True),
        ((False, False, False), False, False),
        ((True, False), None, True),
        ((True, None), None, True),
        ((False, None), None, None),
        ((True, True, None), True, True),
        ((False, False, None), False, None),
        ((True, False, None), None, True),
        ((None, None, True), None, True),
        ((True, True, False, False), None, True),
    ],
)
def test_rules(said, majority, any_):
    assert (decide("majority", *said), decide("any", *said)) == (majority, any_)


def test_only_judges_that_say_a_label_decide_on_it():
    """The matcher sees no harm: its silence on it is no missing verdict."""
    panel = JudgePanel([Says("a", True), Says("b", True), RefusalMatcher()])
    (verdict,) = panel.judge([WHO])
    assert (verdict.response_harmful, verdict.response_refusal, verdict.prompt_harmful) == (True, True, None)
    assert panel.labels == {"response_harmful", "response_refusal"}
    assert panel.is_proxy is False
    assert JudgePanel([RefusalMatcher()]).is_proxy is True


def test_what_each_judge_said_is_kept():
    guard = WildGuardJudge(Scripted(mistral_like(), always("no verdict")))
    panel = JudgePanel([Says("a", False), guard], "any")
    assert panel.name == "any of a, wildguard"
    (verdict,) = panel.judge([WHO])
    assert verdict.by_judge == {
        "a": Verdict(response_harmful=False, raw="a says"),
        "wildguard": Verdict(raw="no verdict", reason="unparsed"),
    }
    assert (verdict.raw, verdict.reason) == ("a:\na says\n\nwildguard:\nno verdict", "unparsed")
    assert verdict.to_dict()["by_judge"]["a"]["response_harmful"] is False
    assert "by_judge" not in verdict.by_judge["a"].to_dict()


def test_its_revision_is_that_of_its_judges():
    def revision(name, revision):
        judge = Says(name, True)
        judge.revision = revision
        panel = JudgePanel([judge])
        panel.prepare()
        return panel.revision

    assert revision("a", "1") == revision("a", "1")
    assert len({revision("a", "1"), revision("a", "2"), revision("b", "1")}) == 3


def test_it_releases_all():
    judges = [Says("a", True), Says("b", True)]
    JudgePanel(judges).release("device")
    assert [judge.released for judge in judges] == [["device"], ["device"]]


@pytest.mark.parametrize("judges", [[], [RefusalMatcher(), RefusalMatcher()]])
def test_no_judge_and_the_same_judge_twice(judges):
    with pytest.raises(ConfigError, match="Give at least one, and no judge twice"):
        JudgePanel(judges)


def test_kappa_worked_out_by_hand():
    # Of 50: both True 20, both False 15, only the first True 5, only the second True 10.
    # Observed .7; by chance .5 x .6 + .5 x .4 = .5; kappa .2 / .5 = .4.
    first = [True] * 25 + [False] * 25
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = cohens_kappa(first, second)
    assert (found.num_both, found.observed, found.kappa) == (50, 0.7, pytest.approx(0.4))
    assert found.positive_agreement == pytest.approx(40 / 55)  # 20 by both, 5 by the first and 10 by the second alone
    assert cohens_kappa(first, first).kappa == 1.0
    assert cohens_kappa(first, [not value for value in first]).kappa == -1.0


def test_missing_verdicts_are_counted_and_change_no_share():
    first = [True, False, True, None, None, True]
    second = [True, False, False, True, None, None]
    assert cohens_kappa(first, second) == Agreement(
        num_both=3,
        num_first_only=1,
        num_second_only=1,
        num_neither=1,
        observed=pytest.approx(2 / 3),
        kappa=pytest.approx((2 / 3 - 4 / 9) / (5 / 9)),
        kappa_low=pytest.approx(-0.4, abs=0.2),
        kappa_high=pytest.approx(0.9, abs=0.1),
        positive_agreement=pytest.approx(2 / 3),
    )


def test_the_interval_of_kappa_covers_it_in_94_percent():
    """Two judges that each call 3 of 10 harmful, with a kappa of .6; 300 experiments, two standard errors allowed."""
    generator, covered = np.random.default_rng(0), 0
    alone = 0.3 * 0.7 * 0.4
    cells = np.array([[True, True], [True, False], [False, True], [False, False]])
    for _ in range(300):
        drawn = cells[generator.choice(4, 50, p=[0.3 - alone, alone, alone, 0.7 - alone])]
        found = cohens_kappa(drawn[:, 0].tolist(), drawn[:, 1].tolist())
        covered += found.kappa_low <= 0.6 <= found.kappa_high
    assert covered / 300 >= 0.94 - 2 * 0.0137


def test_kappa_where_it_is_undefined():
    assert cohens_kappa([None, True], [True, None]) == Agreement(0, 1, 1, 0, None, None)
    assert cohens_kappa([False, False], [False, False]) == Agreement(2, 0, 0, 0, 1.0, None)
    assert cohens_kappa([], []) == Agreement(0, 0, 0, 0, None, None)
    with pytest.raises(ValueError):
        cohens_kappa([True], [])


def test_agreement_of_each_pair():
    said = {"a": [True, False], "b": [True, False], "c": [False, True]}
    assert {pair: found.kappa for pair, found in pairwise_agreement(said).items()} == {
        ("a", "b"): 1.0,
        ("a", "c"): -1.0,
        ("b", "c"): -1.0,
    }
