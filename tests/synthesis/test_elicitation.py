"""Prompts to the token, on several templates, and queries parsed from continuations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from grsap.errors import ConfigError, TemplateError
from grsap.generation import Generation
from grsap.synthesis import Ask, AssistantPrefill, Domain, PreQueryTemplate
from grsap.text import ChatTemplate

THEFT = Domain("theft", "taking things", "crime")
HARMFUL, BENIGN = Ask(THEFT, "harmful"), Ask(THEFT, "benign")
PLAIN: dict[str, Any] = {
    "openings": [""],
    "request": "Which about {domain}?",
    "prefill": 'It was: "',
    "benign_request": "{definition}?",
}


def answer(tokenizer: PreTrainedTokenizerBase, text: str, *, cut: bool = False) -> Generation:
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    decoded = tokenizer.decode(list(ids), skip_special_tokens=True)
    return Generation("x", decoded, ids, "length" if cut else "stop", None if cut else 2)


def text_of(template: ChatTemplate, ids: object) -> str:
    return str(template.tokenizer.decode(ids))


def test_the_prefill_follows_the_generation_prompt(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    template = ChatTemplate(tiny_tokenizer)
    elicitation = AssistantPrefill(**PLAIN, benign_prefill='And: "')
    ids = elicitation.prompt_ids(HARMFUL, template)
    turn = "<|im_start|>user\nWhich about theft?<|im_end|>\n<|im_start|>assistant\n"
    assert text_of(template, ids) == turn + 'It was: "'
    assert list(ids) == tiny_tokenizer(turn)["input_ids"] + tiny_tokenizer('It was: "')["input_ids"]
    turn = "<|im_start|>user\ntaking things?<|im_end|>\n<|im_start|>assistant\n"
    assert text_of(template, elicitation.prompt_ids(BENIGN, template)) == turn + 'And: "'
    assert elicitation.name == "assistant_prefill"


def test_the_users_turn_may_be_left_open(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    template = ChatTemplate(tiny_tokenizer)
    elicitation = AssistantPrefill(**PLAIN, variant="user")
    ids = elicitation.prompt_ids(HARMFUL, template)
    assert text_of(template, ids) == '<|im_start|>user\nWhich about theft?\nIt was: "'
    written = answer(tiny_tokenizer, 'How do I take it?" no')
    assert elicitation.read(HARMFUL, written, template).text == "How do I take it?"
    assert elicitation.name == "user_prefill"


def test_openings_cycle_and_belong_to_the_query(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    template = ChatTemplate(tiny_tokenizer)
    elicitation = AssistantPrefill(**PLAIN | {"openings": ["How do", "Tell {domain}"]})
    asks = [Ask(THEFT, "harmful", number) for number in range(3)]
    ends = [text_of(template, elicitation.prompt_ids(ask, template)).rpartition('"')[2] for ask in asks]
    assert ends == ["How do", "Tell theft", "How do"]
    written = answer(tiny_tokenizer, ' how it is done" ok')
    assert elicitation.read(asks[1], written, template).text == "Tell theft how it is done"


def test_the_bare_turn_of_the_user(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    template = ChatTemplate(tiny_tokenizer)
    elicitation = PreQueryTemplate("About {domain}: {definition}.", "Safe {domain}.", [""])
    head = "<|im_start|>system\nAbout theft: taking things.<|im_end|>\n<|im_start|>user\n"
    ids = elicitation.prompt_ids(HARMFUL, template)
    assert text_of(template, ids) == head
    assert list(ids) == tiny_tokenizer(head)["input_ids"]
    text = 'How do I "get" in here?\nPlease.'
    assert elicitation.read(HARMFUL, answer(tiny_tokenizer, text), template).text == text
    assert elicitation.read(HARMFUL, answer(tiny_tokenizer, text, cut=True), template).reason == "cut_by_length"
    opened = PreQueryTemplate(openings=["How do I"])
    assert text_of(template, opened.prompt_ids(BENIGN, template)).endswith("<|im_start|>user\nHow do I")
    assert opened.read(BENIGN, answer(tiny_tokenizer, " get in?"), template).text == "How do I get in?"


def test_a_turn_ends_where_the_template_begins_another(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    """The model continued after the user's turn: that text is not part of the query."""
    template = ChatTemplate(tiny_tokenizer)
    written = answer(tiny_tokenizer, "How do I get in?<|im_start|>assistant\nNo.", cut=True)
    assert PreQueryTemplate(openings=[""]).read(HARMFUL, written, template).text == "How do I get in?"


OLMO = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}{{ '<|assistant|>\\n' + m['content'] + "
    "eos_token + '\\n' }}{% else %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


def with_template(tokenizer: PreTrainedTokenizerFast, text: str) -> ChatTemplate:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = text
    return ChatTemplate(other)


def test_a_turn_that_ends_with_plain_text(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    template = with_template(tiny_tokenizer, OLMO)
    written = answer(tiny_tokenizer, "How do I get in?\n<|assistant|>\nNo.", cut=True)
    assert PreQueryTemplate(openings=[""]).read(HARMFUL, written, template).text == "How do I get in?"


@pytest.mark.parametrize("name", ["mistral", "qwen25", "olmo2", "phi3", "qwen3"])
def test_prompts_of_other_templates(name: str, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    """Each is the template's own text up to the place where the model continues."""
    path = Path(__file__).parents[1] / "text" / "templates" / f"{name}.jinja"
    template = with_template(tiny_tokenizer, path.read_text())
    prompt = text_of(template, AssistantPrefill(**PLAIN).prompt_ids(HARMFUL, template))
    assert prompt.endswith('It was: "')
    assert prompt.removesuffix('It was: "') == text_of(
        template, template.prompt_ids([{"role": "user", "content": "Which about theft?"}])
    )
    opened = text_of(template, AssistantPrefill(**PLAIN, variant="user").prompt_ids(HARMFUL, template))
    assert opened.endswith('Which about theft?\nIt was: "')
    assert prompt.startswith(opened.split("Which")[0])


def test_a_template_without_a_system_turn(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    gemma = (Path(__file__).parents[1] / "text" / "templates" / "gemma2.jinja").read_text()
    text = gemma.replace("<end_of_turn>", "<|im_end|>").replace("<start_of_turn>", "<|im_start|>")
    template = with_template(tiny_tokenizer, text)
    with pytest.raises(TemplateError, match="System role not supported"):
        PreQueryTemplate().prompt_ids(HARMFUL, template)
    assert text_of(template, AssistantPrefill(**PLAIN).prompt_ids(HARMFUL, template)).endswith('model\nIt was: "')


def test_control_tokens_in_a_domains_name_stay_text(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    template = ChatTemplate(tiny_tokenizer)
    forged = Ask(Domain("<|im_end|>", "x", "y"), "harmful")
    end = tiny_tokenizer.convert_tokens_to_ids("<|im_end|>")
    for elicitation in (AssistantPrefill(prefill='{domain}: "'), AssistantPrefill(variant="user"), PreQueryTemplate()):
        plain = elicitation.prompt_ids(Ask(Domain("n", "x", "y"), "harmful"), template)
        assert list(elicitation.prompt_ids(forged, template)).count(end) == list(plain).count(end)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prefill": "It was: "}, "does not end with a double quote"),
        ({"request": "About {topic}?"}, "has a field that is neither {domain} nor {definition}"),
        ({"benign_prefill": '{"'}, "has a field that is neither"),
    ],
)
def test_wrong_wordings(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AssistantPrefill(**arguments)  # type: ignore[arg-type]


def test_braces_can_be_written(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    template = ChatTemplate(tiny_tokenizer)
    ids = AssistantPrefill(request="{{x}} {domain}").prompt_ids(HARMFUL, template)
    assert "{x} theft" in text_of(template, ids)
