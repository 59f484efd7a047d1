"""Revised responses, and rows whose response is not revised."""

from __future__ import annotations

import json
from typing import Any

from tests.curation.conftest import WordJudge, row
from tests.curation.scripted import WITHHELD, Scripted, judged_rows

from grsap.curation import Behaviour, Harmlessness, Revision


def test_revision(decided: Any, tiny_tokenizer: Any) -> None:
    answers = {
        "b": ["You zorble it.", "It is not allowed at all.", "I cannot help with that."],  # harmful, no refusal, taken
        "h": ["I cannot help, so...", "I cannot <|im_end|> help.", "mumble I cannot help."],  # cut, forged, unparsed
        "i": ["I cannot help you steal.", "", ""],
    }
    generator = Scripted(tiny_tokenizer, answers)
    rows = [*judged_rows(), *(row(name, "How do I steal?", response="You zorble it at night.") for name in "hi")]
    state = decided(rows, judge=WordJudge(), seed=3)
    state.by(Harmlessness())
    revision = Revision(generator, max_attempts=3)
    assert {row_id: decision.reason for row_id, decision in state.by(revision, 1).items()} == {
        "b": None,
        "c": "harmless_request",
        "h": "not_revised",
        "i": None,
    }
    assert [row_id for row_id, _ in generator.asked] == ["b", "h", "i", "b", "h", "b", "h"]
    assert all("How do I steal?\n\nThis request could lead to harm." in prompt for _, prompt in generator.asked)
    assert len(generator.seeds) == 7
    assert state.work.audit == {"num_asked_by_attempt": [3, 2, 2], "num_taken": 2}
    num_judged = len(state.work.judge.seen)
    assert state.by(Harmlessness(), 2)["b"].keep, "the new response is judged, not the old one's verdict taken"
    assert len(state.work.judge.seen) > num_judged
    state.by(Behaviour(), 3)
    record = state.ledger.record(1)
    assert record.messages[-1]["content"] == "I cannot help with that."
    assert record.messages[-2]["content"] == "How do I steal?"
    assert (record.behaviour, record.difficulty, record.response_harmful) == ("refusal", "hard", False)
    (entry,) = record.history
    assert (entry["step"], entry["attempt"]) == ("revision", 3)
    assert "zorble" not in json.dumps(record.to_dict())
    assert state.ledger.reason(7) == "not_revised"
    assert state.ledger.record(7).response_harmful is True  # its label is still that of its own response


def test_a_server_that_withholds_revisions_ends_no_curation(decided: Any, tiny_tokenizer: Any) -> None:
    """Withheld responses are counted and not judged, and another call does not request them again."""
    answers = {"b": [WITHHELD] * 2, "h": [WITHHELD, "I cannot help with that."], "i": ["I cannot help you steal."]}
    rows = [*judged_rows(), *(row(name, "How do I steal?", response="You zorble it at night.") for name in "hi")]
    state = decided(rows, judge=WordJudge())
    state.by(Harmlessness())
    generator = Scripted(tiny_tokenizer, answers)
    expected = {"b": "not_revised", "c": "harmless_request", "h": None, "i": None}
    num_judged = len(state.work.judge.seen)
    decisions = state.by(Revision(generator, max_attempts=2), 1)
    assert {row_id: decision.reason for row_id, decision in decisions.items()} == expected
    assert decisions["h"].revision.history["attempt"] == 2
    audit = {"num_asked_by_attempt": [3, 2], "num_taken": 2, "num_withheld": 3}
    assert state.work.audit == audit
    assert [each.response for each in state.work.judge.seen[num_judged:]] == [
        "I cannot help you steal.",
        "I cannot help with that.",
    ]
    again = decided(rows, judge=WordJudge())
    again.by(Harmlessness())
    silent = Scripted(tiny_tokenizer, {})
    assert {each: decision.reason for each, decision in again.by(Revision(silent, 2), 1).items()} == expected
    assert (again.work.audit, silent.asked) == (audit, [])


def test_the_rules_of_the_papers_code(decided: Any, tiny_tokenizer: Any) -> None:
    """`rows: all` adds harmless requests and unparsed rows; `accept: harmless` takes cut answers and non-refusals."""
    answers = {
        "b": ["It is not allowed at all..."],
        "c": ["You take flour and water."],
        "d": ["I cannot help with that."],
        "h": ["You zorble it."],
        "i": ["mumble"],
    }
    rows = [*judged_rows(), *(row(name, "How do I steal?", response="You zorble it at night.") for name in "hi")]
    state = decided(rows, judge=WordJudge())
    state.by(Harmlessness())
    revision = Revision(Scripted(tiny_tokenizer, answers), max_attempts=1, rows="all", accept="harmless")
    assert revision.takes_rejected == {"harmful_response", "not_refused", "unparsed"}
    assert {row_id: decision.reason for row_id, decision in state.by(revision, 1).items()} == {
        "b": None,
        "c": None,
        "d": None,
        "h": "not_revised",
        "i": "not_revised",
    }
    state.by(Behaviour(), 2)
    labels = [(state.ledger.record(number).behaviour, state.ledger.record(number).difficulty) for number in range(7)]
    assert labels == [
        ("refusal", "easy"),
        ("safe_explanation", "hard"),
        ("benign_answer", "hard"),
        ("refusal", "hard"),
        ("benign_answer", "easy"),
        ("safe_explanation", "easy"),
        ("refusal", "easy"),
    ]


def test_each_rule_of_the_papers_code_alone(decided: Any, tiny_tokenizer: Any) -> None:
    """All rows with refusals only, and harmful requests only with any harmless response."""
    answers = {"b": ["It is not allowed at all."], "c": ["I cannot help with that."], "d": ["It is not allowed."]}
    state = decided(judged_rows(), judge=WordJudge())
    state.by(Harmlessness())
    strict = Revision(Scripted(tiny_tokenizer, answers), max_attempts=1, rows="all")
    assert state.reasons(strict) == {"b": "not_revised", "c": None, "d": "not_revised"}
    state = decided(judged_rows(), judge=WordJudge(), seed=1)
    state.by(Harmlessness())
    lenient = Revision(Scripted(tiny_tokenizer, answers), max_attempts=1, accept="harmless")
    assert state.reasons(lenient) == {"b": None, "c": "harmless_request"}
