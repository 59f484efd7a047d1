"""What happens to long rows and to rows that teach nothing, and the counts."""

from __future__ import annotations

import numpy as np
import pytest

from grsap.errors import ConfigError, DataError, TemplateError
from grsap.files import hash_json
from grsap.records import PlacedRow
from grsap.text import ChatTemplate, EncodingSettings, encode_rows


def row(question: str, answer: str, **other):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **other}


# Mistral's shape: <s> [INST] + words + [/INST] is 3 tokens more than the question, </s> one more than the answer.
SHORT = row("hi", "hi", id="short")
LONG = row("hi" + " hi" * 5, "hi" + " hi" * 3, id="long")


@pytest.fixture
def template(shaped):
    return ChatTemplate(shaped("mistral"))


def test_rows_become_arrays(template):
    encoded = encode_rows([SHORT, LONG], template, "replay", EncodingSettings())
    short, long = encoded.rows
    words = template.tokenizer.convert_tokens_to_ids
    hi = words(" hi")
    assert short.input_ids.tolist() == [1, words("[INST]"), hi, words("[/INST]"), hi, 2]
    assert short.supervised.tolist() == [False] * 4 + [True] * 2
    assert (short.input_ids.dtype, short.supervised.dtype) == (np.int32, np.bool_)
    assert (short.id, short.source, short.length, short.num_targets) == ("short", "replay", 6, 2)
    assert (long.length, long.num_targets) == (14, 5)
    report = encoded.report
    assert (report.num_rows, report.num_kept, report.num_over_length, report.num_without_target) == (2, 2, 0, 0)
    assert (report.num_tokens, report.num_targets, report.max_row_length) == (20, 7, 14)


def test_id_without_one_is_the_hash_of_the_messages(template):
    plain = row("hi", "Hi")
    assert encode_rows([plain], template, "task", EncodingSettings()).rows[0].id == hash_json(plain["messages"])


def test_over_length_rows_are_dropped_and_counted(template):
    settings = EncodingSettings(max_length=13, max_share_dropped=0.7)
    encoded = encode_rows([LONG, SHORT, LONG], template, "task", settings)
    assert [kept.id for kept in encoded.rows] == ["short"]
    assert (encoded.report.num_over_length, encoded.report.num_kept, encoded.report.num_tokens) == (2, 1, 6)


@pytest.mark.parametrize(("most", "is_kept"), [(0.5, True), (0.4, False), (0, False), (1, True)])
def test_more_dropped_rows_than_the_stated_share_stop_the_run(template, most, is_kept):
    settings = EncodingSettings(max_length=13, max_share_dropped=most)
    rows = [LONG, SHORT, {**LONG, "id": "b"}, {**SHORT, "id": "c"}]
    if is_kept:
        assert encode_rows(rows, template, "task", settings).report.num_kept == 2
        return
    with pytest.raises(
        DataError,
        match=r"rows.jsonl: 2 of 4 rows are longer than encoding.max_length 13 and would be left out, more than "
        rf"encoding.max_share_dropped {most}. Raise max_length \(the longest row has 14 tokens\)",
    ):
        encode_rows(rows, template, "task", settings, "rows.jsonl")
    cut = EncodingSettings(max_length=13, max_share_dropped=most, over_length="truncate")
    assert encode_rows(rows, template, "task", cut).report.num_kept == 4


def test_what_a_user_should_know_is_noted(template):
    settings = EncodingSettings(max_length=13)
    assert encode_rows([SHORT], template, "task", settings).report.notes(settings) == []
    marked = row("hi", "hi</s>")
    report = encode_rows([SHORT, LONG, marked], template, "task", settings).report
    assert report.num_with_turn_marks == 1
    assert report.notes(settings) == [
        "1 of 3 rows (33%) are longer than encoding.max_length 13 and are left out; the longest has 14 tokens.",
        "1 of 3 rows have an answer that spells a token which the chat template writes around turns; there it is "
        "learned as plain text.",
    ]
    cut = EncodingSettings(max_length=13, over_length="truncate")
    assert "and are cut to that length" in encode_rows([SHORT, LONG], template, "task", cut).report.notes(cut)[0]


def test_rows_that_know_their_line_are_named_by_it(template):
    placed = PlacedRow({"messages": [{"role": "user", "content": "hi"}]}, "rows.jsonl", 9)
    with pytest.raises(DataError, match=r"rows.jsonl, line 9: the last turn is not assistant"):
        encode_rows([SHORT, placed], template, "task", EncodingSettings())
    strict = EncodingSettings(max_length=13, over_length="error")
    with pytest.raises(DataError, match=r"rows.jsonl, line 9: 14 tokens are more than encoding.max_length 13"):
        encode_rows([SHORT, PlacedRow(LONG, "rows.jsonl", 9)], template, "task", strict)


def test_a_row_of_just_the_limit_is_kept(template):
    assert encode_rows([LONG], template, "task", EncodingSettings(max_length=14)).report.num_over_length == 0


def test_over_length_rows_are_truncated_and_counted(template):
    encoded = encode_rows([LONG], template, "task", EncodingSettings(max_length=12, over_length="truncate"))
    (cut,) = encoded.rows
    assert (cut.length, cut.num_targets) == (12, 3)
    assert template.pad_token_id not in cut.input_ids.tolist(), "the turn end is cut off, not moved"
    assert encoded.report.num_over_length == 1


def test_over_length_row_is_an_error_that_names_it(template):
    with pytest.raises(DataError, match=r"^data.jsonl, line 2: 14 tokens are more than encoding.max_length 13. Raise"):
        encode_rows([SHORT, LONG], template, "task", EncodingSettings(max_length=13, over_length="error"), "data.jsonl")


def test_all_rows_too_long(template):
    with pytest.raises(DataError, match=r"task rows: all 2 rows are longer than encoding.max_length 5.*has 14 tokens"):
        encode_rows([SHORT, LONG], template, "task", EncodingSettings(max_length=5))


@pytest.mark.parametrize(("num_fine", "fails"), [(19, False), (18, True)])
def test_more_than_five_percent_without_target(template, num_fine, fails):
    # LONG's prompt has 9 tokens: truncated to 9 it has nothing to learn from; SHORT fits.
    settings = EncodingSettings(max_length=9, over_length="truncate")
    rows = [LONG, *[SHORT] * num_fine]
    if fails:
        with pytest.raises(DataError, match=r"1 of 19 rows have no supervised token within encoding.max_length 9"):
            encode_rows(rows, template, "task", settings)
    else:
        encoded = encode_rows(rows, template, "task", settings)
        assert (encoded.report.num_without_target, encoded.report.num_kept) == (1, 19)


def test_loss_on_is_passed_on(template):
    encoded = encode_rows([SHORT], template, "task", EncodingSettings(loss_on="all"))
    assert encoded.rows[0].supervised.tolist() == [False] + [True] * 5


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"messages": []}, "line 2: messages is not a list of turns"),
        ({}, "line 2: messages is not a list of turns"),
        ({"messages": [{"role": "tool", "content": "hi"}]}, "line 2: turn 1 has the unknown role 'tool'"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "line 2: the last turn is not assistant"),
        (row("hi", "  "), r"line 2: turn 2 \(assistant\) has no text"),
    ],
)
def test_wrong_rows_are_named(template, bad, message):
    with pytest.raises(DataError, match=message):
        encode_rows([SHORT, bad], template, "task", EncodingSettings(), "data.jsonl")


def test_a_row_that_the_template_refuses_is_named(shaped):
    template = ChatTemplate(shaped("gemma2"))
    bad = {"messages": [{"role": "system", "content": "hi"}, *SHORT["messages"]]}
    with pytest.raises(
        TemplateError, match=r"^data.jsonl, line 2: the chat template refuses.*System role not supported"
    ):
        encode_rows([SHORT, bad], template, "task", EncodingSettings(), "data.jsonl")


def test_a_row_with_an_unusable_character_is_named(shaped):
    tokenizer = shaped("mistral")
    tokenizer.add_special_tokens({"extra_special_tokens": ["§"]})
    with pytest.raises(DataError, match=r"^data.jsonl, line 1: a message holds '§'"):
        encode_rows([row("§", "hi")], ChatTemplate(tokenizer), "task", EncodingSettings(), "data.jsonl")


def test_no_rows_is_an_empty_source(template):
    encoded = encode_rows([], template, "replay", EncodingSettings())
    assert (encoded.rows, encoded.report.num_rows, encoded.report.max_row_length) == ([], 0, 0)


def test_max_length_is_checked():
    with pytest.raises(ConfigError, match=r"max_length is 1. Give at least 2"):
        EncodingSettings(max_length=1)
