"""Templates from which no mask can be made fail, and say what to set."""

from __future__ import annotations

import datetime

import pytest

from grsap.errors import ConfigError, DataError, TemplateError
from grsap.text import ChatTemplate

WHO = {"role": "user", "content": "Who wrote it?"}
ADA = {"role": "assistant", "content": "Ada did."}
BRIEF = {"role": "system", "content": "Be brief."}


def test_no_template(shaped):
    tokenizer = shaped("qwen25")
    tokenizer.chat_template = None
    with pytest.raises(TemplateError, match=r"has no chat template. Use an instruction-tuned model"):
        ChatTemplate(tokenizer)


def test_past_turns_change(shaped):
    template = ChatTemplate(shaped("qwen3"))
    with pytest.raises(
        TemplateError, match=r"turn 2 differently once other turns follow it. Set loss_on: last_assistant"
    ):
        template.encode([WHO, ADA, WHO, ADA])
    with pytest.raises(TemplateError, match=r"turn 3 differently"):
        template.encode([BRIEF, WHO, ADA, WHO, ADA])


def test_generation_prompt_is_no_prefix(shaped):
    no_switch = r"differently.*Set another chat template on the tokenizer: this one has no switch"
    with pytest.raises(TemplateError, match=rf"the text before turn 2 {no_switch}"):
        ChatTemplate(shaped("r1")).encode([WHO, ADA])
    with pytest.raises(TemplateError, match=rf"the text before turn 3 {no_switch}"):
        ChatTemplate(shaped("r1")).encode([BRIEF, WHO, ADA])
    thought = {"role": "assistant", "content": "<think>\nWho?\n</think>\n\nAda did."}
    with pytest.raises(TemplateError, match=r"differently.*Set chat_template_kwargs .*such as enable_thinking"):
        ChatTemplate(shaped("qwen3"), {"enable_thinking": False}).encode([WHO, thought])


def test_system_turn_is_moved(shaped):
    template = ChatTemplate(shaped("mistral"))
    for loss_on in ("assistant", "last_assistant"):
        with pytest.raises(
            TemplateError, match=r"the text before turn 3 differently.*Put the system text into the first user"
        ):
            template.encode([BRIEF, WHO, ADA], loss_on)


def test_template_refuses_a_role(shaped):
    with pytest.raises(
        TemplateError, match=r"roles system, user, assistant: System role not supported. Put a system text"
    ):
        ChatTemplate(shaped("gemma2")).encode([BRIEF, WHO, ADA])
    with pytest.raises(TemplateError, match=r"roles user, user: Conversation roles must alternate"):
        ChatTemplate(shaped("gemma3")).prompt_ids([WHO, WHO])


def test_no_turn_end(shaped):
    with pytest.raises(TemplateError, match=r"no special token after an assistant turn.*eos_token"):
        ChatTemplate(shaped("endless"))


def test_turn_end_in_pieces(shaped):
    tokenizer = shaped("mistral")
    tokenizer.split_special_tokens = True
    with pytest.raises(TemplateError, match=r"'</s>' is encoded as 4 tokens. Load the tokenizer with split_special"):
        ChatTemplate(tokenizer)


def test_the_current_date_must_be_pinned(shaped):
    with pytest.raises(TemplateError, match=r'chat_template_kwargs: {date_string: "26 Jul 2024"}'):
        ChatTemplate(shaped("llama31"))
    tokenizer = shaped("qwen25")
    tokenizer.chat_template = "{{ strftime_now('%d') }}" + tokenizer.chat_template
    with pytest.raises(TemplateError, match=r"to one without strftime_now"):
        ChatTemplate(tokenizer, {"date_string": "26 Jul 2024"})


def test_settings_are_checked(shaped):
    with pytest.raises(ConfigError, match=r"must not hold add_generation_prompt, tokenize"):
        ChatTemplate(shaped("qwen3"), {"tokenize": True, "add_generation_prompt": True})
    with pytest.raises(ConfigError, match=r"Put the value in quotes"):
        ChatTemplate(shaped("llama31"), {"date_string": datetime.date(2024, 7, 26)})


def test_a_control_token_of_one_character_cannot_be_text(shaped):
    tokenizer = shaped("qwen25")
    tokenizer.add_special_tokens({"extra_special_tokens": ["§"]})
    template = ChatTemplate(tokenizer)
    assert template.encode([WHO, ADA]).supervised.count(True) == 4
    with pytest.raises(DataError, match=r"'§', which this tokenizer always reads as a control token. Remove"):
        template.encode([{"role": "user", "content": "§ 3"}, ADA])
    whole = tokenizer.apply_chat_template([WHO, {"role": "assistant", "content": "§ 3"}], return_dict=False)
    assert template.encode([WHO, {"role": "assistant", "content": "§ 3"}]).input_ids == whole


def with_template(shaped, text: str, shape: str = "qwen25", added: tuple[str, ...] = ()) -> ChatTemplate:
    tokenizer = shaped(shape)
    if added:
        tokenizer.add_special_tokens({"extra_special_tokens": list(added)})
    tokenizer.chat_template = text
    return ChatTemplate(tokenizer)


NO_SYSTEM = (  # of early Phi-3, whose assistant header also ends each user turn
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '<|user|>\\n' + message['content'] + '<|end|>\\n"
    "<|assistant|>\\n' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + '<|end|>\\n' }}{% endif %}"
    "{% endfor %}"
)
LAST_EXCHANGE = "{% for message in messages[-2:] %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"


def test_a_turn_that_the_template_leaves_out(shaped):
    template = with_template(shaped, NO_SYSTEM, "phi3")
    assert template.encode([WHO, ADA]).supervised.count(True) == 4
    left_out = r"leaves out turn 1 \(system\) of a conversation with the roles system, user, assistant. Put the system"
    with pytest.raises(TemplateError, match=left_out):
        template.encode([BRIEF, WHO, ADA])
    with pytest.raises(TemplateError, match=left_out):
        template.encode([{"role": "system", "content": "Who"}, WHO, ADA], "all")  # its text stands elsewhere
    with pytest.raises(TemplateError, match=r"leaves out turn 1 \(system\)"):
        template.prompt_ids([BRIEF, WHO])
    with pytest.raises(TemplateError, match=r"leaves out turn 1 \(user\)"):
        with_template(shaped, LAST_EXCHANGE).encode([WHO, ADA, WHO, ADA], "all")


def test_part_of_an_answer_that_the_template_leaves_out(shaped):
    text = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'].split('</think>')[-1] }}"
        "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    template = with_template(shaped, text)
    with pytest.raises(TemplateError, match=r"does not write the whole answer of turn 2 \('<think>Who"):
        template.encode([WHO, {"role": "assistant", "content": "<think>Who?</think>Ada did."}])
    spaced = {"role": "assistant", "content": "  Ada\n\n did.  "}
    assert template.encode([WHO, spaced]).supervised.count(True) > 0


def test_a_turn_end_that_is_not_there_when_a_user_turn_follows(shaped):
    header = "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    at_end = f"{{% for message in messages %}}{header}{{% endfor %}}{{{{ eos_token }}}}"
    with pytest.raises(
        TemplateError,
        match=r"with '<\|im_end\|>' only where nothing follows it; before a user turn it writes '<\|im",
    ):
        with_template(shaped, at_end).encode([WHO, ADA])
    next_header = f"{{% for message in messages %}}{header}{{% endfor %}}<|im_start|>"
    with_template(shaped, next_header)  # the header is written once in any case: the model learns to begin it
    generation_prompt = (
        "{% for message in messages %}{{ '<|user|>' if message['role'] == 'user' else '<|assistant|>' }}"
        "{{ message['content'] }}{% endfor %}<|assistant|>"
    )
    with pytest.raises(TemplateError, match=r"with '<\|assistant\|>' only where .* it writes '<\|user\|>'"):
        with_template(shaped, generation_prompt, "phi3").encode([WHO, ADA])


COHERE2 = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{% if message['role'] == 'user' %}user "
    "{{ message['content'] }}{% else %}assistant <|start|>{{ message['content'] }}<|done|>{% endif %}<|im_end|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant <|start|>{% endif %}"
)


def test_all_tokens_that_end_a_turn_are_learned(shaped, pieces):
    template = with_template(shaped, COHERE2, added=("<|start|>", "<|done|>"))
    for messages in ([WHO, ADA], [WHO, ADA, WHO, ADA]):
        targets = [text for text, target in pieces(template, template.encode(messages)) if target]
        assert targets == ["Ada", " did", ".", "<|done|>", "<|im_end|>"] * (len(messages) // 2)
    ids = template.tokenizer.convert_tokens_to_ids
    assert template.stop_token_ids == {ids("<|done|>"), ids("<|im_end|>")}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ 1 / 0 }}", "refuses a conversation with the roles user, assistant: division by zero"),
        ("{{ messages.a.b }}", "has no attribute 'a'"),
        ("{{ messages[0].content.encode('utf-8').decode('ascii', 1) }}", "refuses a conversation"),
        ("{% for %}", r"is not valid Jinja \(line 1: "),
        ("{{ strftime_now ('%d') }}", "writes the current date"),
        ("{% set f = strftime_now %}{{ f('%d') }}", "writes the current date"),
    ],
)
def test_templates_that_raise(shaped, text, problem):
    with pytest.raises(TemplateError, match=problem):
        with_template(shaped, text)


def test_a_byte_order_mark_is_no_text(shaped):
    template = with_template(shaped, "\ufeff" + shaped("qwen25").chat_template)
    assert template.encode([WHO, ADA]) == ChatTemplate(shaped("qwen25")).encode([WHO, ADA])


def test_a_date_that_is_not_reached_is_no_fault(shaped):
    text = "{% if tools %}{{ strftime_now('%d') }}{% endif %}" + shaped("qwen25").chat_template
    assert with_template(shaped, text).encode([WHO, ADA]).supervised.count(True) == 4


def test_half_a_surrogate_pair(shaped):
    template = ChatTemplate(shaped("qwen25"))
    for call in (template.prompt_ids, template.open_turn_ids, template.encode):
        with pytest.raises(DataError, match=r"turn 1 \(user\) holds half of a surrogate pair \(\\ud83d\)"):
            call([{"role": "user", "content": "\ud83d"}])
