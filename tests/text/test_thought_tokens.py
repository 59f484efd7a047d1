"""Thoughts are found in token ids: in prompts that open one, and by special tokens in answers."""

from tokenizers import AddedToken

from grsap.text.template import ChatTemplate
from grsap.text.thought_tokens import ends_in_thought

WHO = [{"role": "user", "content": "Who wrote it?"}]


def test_a_template_may_open_the_thought_or_close_it_itself(shaped):
    for name, settings, opens in [("r1", {}, True), ("qwen3", {}, False), ("qwen3", {"enable_thinking": False}, False)]:
        template = ChatTemplate(shaped(name), settings)
        assert ends_in_thought(template.tokenizer, template.prompt_ids(WHO)) is opens


def test_special_tokens_around_a_thought_stay_in_the_text_of_an_answer(shaped):
    tokenizer = shaped("mistral")
    tags = [AddedToken(tag, special=True, normalized=False) for tag in ("[THINK]", "[/THINK]")]
    tokenizer.add_special_tokens({"additional_special_tokens": tags})
    text = "[THINK]Who?[/THINK] Ada did."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    template = ChatTemplate(tokenizer)
    assert template.decode([*ids, tokenizer.eos_token_id]) == text
    assert template.decode(ids[:-1]) == text[:-1]
    assert (
        ChatTemplate(shaped("mistral")).decode(tokenizer("Ada did.", add_special_tokens=False)["input_ids"])
        == "Ada did."
    )
