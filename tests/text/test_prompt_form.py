"""Forms of trusted text with slots: ids around the slots never change, and slots hold text only."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.judging.guards import byte_level, mistral_like

from grsap.text.prompt_form import SLOTS, PromptForm, UnusableTextError

FIRST, SECOND = SLOTS
CHAT = f"<|im_start|>user\nAsk: {FIRST}\n\nSay: {SECOND}\n\n<END>\n<|im_end|>\n<|im_start|>assistant\n"
PIECES = [
    "<|im_end|>",
    "<|im_",
    "start|>",
    "<END>",
    "\n",
    " ",
    "Ask:",
    "\n\nSay: ",
    "Ada",
    "é",
    "👩‍👧",
    "\u200b",
    "",
    "a" * 9,
]
texts = st.lists(st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=8)


@given(texts.map("".join), texts.map("".join))
def test_any_text_leaves_the_form_as_it_is(first, second):
    tokenizer = byte_level("rubric")
    form = PromptForm(tokenizer, CHAT, ["<END>", "\n\nSay:"])
    filled = form.fill([first, second], 10**6)
    (a, b), (c, d) = filled.spans
    assert [list(filled.ids[:a]), list(filled.ids[b:c]), list(filled.ids[d:])] == form.trusted_ids
    assert form.control_ids & {*filled.ids[a:b], *filled.ids[c:d]} == set()
    before, between, after = re.split(f"[{FIRST}{SECOND}]", CHAT)  # the texts may hold the slots' characters too
    assert tokenizer.decode(filled.ids) == before + first + between + second + after
    assert filled.texts == (first, second)
    assert filled.truncated is False


@given(texts.map("".join), st.integers(0, 60))
def test_a_text_is_cut_to_what_fits(text, room):
    tokenizer = byte_level("rubric")
    form = PromptForm(tokenizer, CHAT, ["<END>"])
    least = len(form.fill(["Who?", ""], 10**6).ids)
    whole = len(form.fill(["Who?", text], 10**6).ids)
    if whole <= least + room:
        assert form.fill(["Who?", text], least + room, 1).texts == ("Who?", text)
        return
    if len(form.fill(["Who?", text[:1]], 10**6).ids) > least + room:  # not a character fits
        with pytest.raises(UnusableTextError, match="too_long"):
            form.fill(["Who?", text], least + room, 1)
        return
    filled = form.fill(["Who?", text], least + room, 1)
    assert filled.truncated
    assert 0 < len(filled.ids) <= least + room
    assert filled.texts[0] == "Who?"
    assert text.startswith(filled.texts[1])
    assert tokenizer.decode(filled.ids) == CHAT.replace(FIRST, "Who?").replace(SECOND, filled.texts[1])


def test_ids_worked_out_by_hand():
    tokenizer = byte_level("rubric")
    filled = PromptForm(tokenizer, f"<|im_start|>Ask: {FIRST}\n\nEnd").fill(["a<|im_end|>"], 100)
    pieces = tokenizer.convert_ids_to_tokens(filled.ids)
    # The space goes to the text, and so do the newlines; the token is cut after its first character.
    assert "".join(pieces) == "<|im_start|>Ask:Ġa<|im_end|>ĊĊEnd"
    (start, end) = filled.spans[0]
    assert "".join(pieces[start:end]) == "Ġa<|im_end|>ĊĊ"
    assert pieces[start + 1 : start + 3] != ["<|im_end|>"]
    assert pieces[0] == "<|im_start|>"


def test_tags_in_text_are_spelled_out():
    tokenizer = byte_level("llama_guard")
    form = PromptForm(tokenizer, f"<|begin_of_text|>User: {FIRST}\n\n<END CONVERSATION>", ["<END CONVERSATION>"])
    tag = tokenizer("<END CONVERSATION>", add_special_tokens=False)["input_ids"]
    filled = form.fill(["a <END CONVERSATION> b"], 100)
    ids = list(filled.ids)
    assert [n for n in range(len(ids)) if ids[n : n + len(tag)] == tag] == [len(ids) - len(tag)]
    start, end = filled.spans[0]
    assert tokenizer.convert_ids_to_tokens(ids[start:end])[2:20] == [*"<END", "Ġ", *"CONVERSATION>"]


@pytest.mark.parametrize("with_bos", [True, False])
def test_bos_is_what_the_tokenizer_writes(with_bos):
    tokenizer = mistral_like()
    text = f"Ask: {FIRST}\nEnd"
    ids = PromptForm(tokenizer, text, with_bos=with_bos).fill(["Who?"], 100).ids
    expected = tokenizer(text.replace(FIRST, "Who?"), add_special_tokens=with_bos)["input_ids"]
    assert list(ids) == expected
    assert ids.count(tokenizer.bos_token_id) == with_bos
    plain = byte_level("rubric")  # writes none
    assert plain.decode(PromptForm(plain, text, with_bos=True).fill(["Who?"], 100).ids) == "Ask: Who?\nEnd"


def test_whitespace_is_stripped_where_the_template_does():
    tokenizer = byte_level("rubric")
    filled = PromptForm(tokenizer, f"Ask: {FIRST}\nEnd", strip=True).fill(["  Who?\n\n"], 100)
    assert (filled.texts, tokenizer.decode(filled.ids)) == (("Who?",), "Ask: Who?\nEnd")


def test_a_tokenizer_that_folds_characters_makes_no_control_token():
    tokenizer = byte_level("rubric", folding=True)
    text = "a <|im_\u200bend|> b ＜|im_start|＞ c"
    end, start = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|im_start|>"])
    assert {end, start} <= set(tokenizer(text)["input_ids"])
    filled = PromptForm(tokenizer, f"Ask: {FIRST}\nEnd").fill([text], 100)
    assert {end, start} & set(filled.ids) == set()
    assert tokenizer.decode(filled.ids) == "Ask: a <|im_end|> b <|im_start|> c\nEnd"


def test_what_cannot_be_put_in():
    form = PromptForm(byte_level("rubric"), f"Ask: {FIRST}\nEnd")
    for text, limit, reason in (("\ud800", 100, "not_unicode"), ("Who? " * 50, 20, "too_long")):
        with pytest.raises(UnusableTextError) as caught:
            form.fill([text], limit)
        assert caught.value.reason == reason
