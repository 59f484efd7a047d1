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
