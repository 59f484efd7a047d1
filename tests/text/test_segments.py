"""Segments encoded one by one give the ids of the whole, and a segment's ids do not depend on what follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from grsap.errors import TemplateError
from grsap.text import ChatTemplate
from grsap.text.control_tokens import ControlTokens
from grsap.text.segments import SegmentEncoder

MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
TURNS = [
    {"role": "user", "content": "who wrote it"},
    {"role": "assistant", "content": "ada did"},
    {"role": "user", "content": "who else"},
    {"role": "assistant", "content": "bob did"},
]


def sentencepiece_like(style: str) -> PreTrainedTokenizerFast:
    """Characters and words with U+2581 for spaces; one is put before the text (`first`) or after each token too."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    if style == "first":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    specials = [AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")]
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=specials, min_frequency=1, show_progress=False)
    tokenizer.train_from_iterator(["who wrote it ada did who else bob did\n", "ada", "bob"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.chat_template = MISTRAL
    return fast


@pytest.mark.parametrize(
    ("style", "lead", "space"), [("first", " ", "▁"), ("first", "", ""), ("every", " ", "▁▁"), ("every", "", "▁")]
)
def test_spaces_that_sentencepiece_adds_stand_as_in_the_whole(style, lead, space):
    tokenizer = sentencepiece_like(style)
    tokenizer.chat_template = MISTRAL.replace("{{ ' ' +", f"{{{{ '{lead}' +")
    template = ChatTemplate(tokenizer)
    conversation = template.encode(TURNS)
    assert conversation.input_ids == tokenizer.apply_chat_template(TURNS, return_dict=False)
    answers, current = [], []
    for token, target in zip(conversation.input_ids, conversation.supervised, strict=True):
        if target:
            current.append(token)
            if token == tokenizer.eos_token_id:
                answers.append("".join(tokenizer.convert_ids_to_tokens(current)))
                current = []
    assert answers == [f"{space}ada▁did</s>", f"{space}bob▁did</s>"]


def test_a_token_across_the_cut_is_split(shaped, pieces):
    # "assistant: " + "Ada": read in one go, the space goes to the word.
    template = ChatTemplate(shaped("plain"))
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Ada did."}]
    whole = template.tokenizer.apply_chat_template(messages, return_dict=False)
    assert template.tokenizer.convert_ids_to_tokens(whole)[-4:] == [" Ada", " did", ".", "</s>"]
    prompt = template.prompt_ids(messages[:1])
    conversation = template.encode(messages)
    assert conversation.input_ids[: len(prompt)] == prompt
    assert pieces(template, conversation)[-6:] == [
        (":", False),
        (" ", False),
        ("Ada", True),
        (" did", True),
        (".", True),
        ("</s>", True),
    ]


def test_a_control_token_out_of_plain_text_is_refused():
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "stop": 1, "go": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    control = ControlTokens(fast, "")
    control.ids = frozenset({1})
    encoder = SegmentEncoder(fast, control)
    assert encoder.encode("go go", [], "\0") == [[2, 2]]
    with pytest.raises(TemplateError, match="encodes the plain text 'go stop' as a control token"):
        encoder.encode("go stop", [], "\0")


TEXT = st.text(st.sampled_from("abcé日 \n.?7<|"), min_size=1, max_size=30).filter(lambda text: text.strip() == text)


@given(TEXT, TEXT, TEXT, TEXT)
def test_chatml_by_hand(tiny_tokenizer, question, answer, further, last):
    """ChatML assembled from ids: the mask and ids of any text that does not begin or end with space."""
    start, end = 1, 2

    def encode(text):
        return tiny_tokenizer(text, add_special_tokens=False)["input_ids"]

    messages, ids, mask = [], [], []
    for role, text in zip(["user", "assistant"] * 2, [question, answer, further, last], strict=True):
        messages.append({"role": role, "content": text})
        head, body, tail = [start, *encode(f"{role}\n")], [*encode(text), end], encode("\n")
        ids += head + body + tail
        mask += [False] * len(head) + [role == "assistant"] * len(body) + [False] * len(tail)
    conversation = ChatTemplate(tiny_tokenizer).encode(messages)
    assert conversation.input_ids == ids
    assert conversation.supervised == mask


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
def test_any_text_keeps_prompt_and_answer(tiny_tokenizer, question, answer):
    template = ChatTemplate(tiny_tokenizer)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    conversation = template.encode(messages)
    prompt = template.prompt_ids(messages[:1])
    assert conversation.input_ids[: len(prompt)] == prompt
    first = conversation.supervised.index(True)
    assert first == len(prompt)
    targets = conversation.input_ids[first : first + sum(conversation.supervised)]
    assert tiny_tokenizer.decode(targets) == answer + "<|im_end|>"
    assert tiny_tokenizer.decode(conversation.input_ids[first + len(targets) :]) == "\n"
