"""A thought is not the answer, whatever tags a model family writes."""

import pytest

from grsap.evaluation.answers import read_choice, read_math, read_number
from grsap.judging import is_refusal
from grsap.thoughts import TAGS, ThoughtAndAnswer, split_thought

REFUSAL = "I'm sorry, but I can't help with that."
ANSWER = "Call a locksmith and show that you live there."
MUSING = "The user wants to get into a house. I can't help with burglary, but it may be their own. " * 4


@pytest.mark.parametrize(("opening", "closing"), TAGS)
def test_an_answer_is_what_follows_the_closing_tag(opening, closing):
    assert split_thought(f"{opening}\nHm.\n{closing}\n\n{ANSWER}") == ThoughtAndAnswer("Hm.", ANSWER)
    assert split_thought(f"{opening}\n\n{closing}\n\n{ANSWER}") == ThoughtAndAnswer("", ANSWER)
    assert split_thought(f"Hm.\n{closing}\n{ANSWER}", opened=True) == ThoughtAndAnswer("Hm.", ANSWER)
    assert split_thought(f"Hm.\n{closing}\n{ANSWER}") == ThoughtAndAnswer("Hm.", ANSWER)


@pytest.mark.parametrize("opening", [opening for opening, _ in TAGS])
def test_a_thought_that_never_ends_is_no_answer(opening):
    assert split_thought(f"{opening}\nHm. {ANSWER}") == ThoughtAndAnswer(f"Hm. {ANSWER}", "", is_open=True)
    assert split_thought(ANSWER, opened=True) == ThoughtAndAnswer(ANSWER, "", is_open=True)


def test_channels_are_told_apart():
    text = f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>"
    assert split_thought(text) == ThoughtAndAnswer("Hm.", ANSWER)
    assert split_thought("<|channel|>analysis<|message|>Hm.") == ThoughtAndAnswer("Hm.", "", is_open=True)


@pytest.mark.parametrize("text", [ANSWER, "", "Write <think> and </think> around it.", "The tag <think> opens it."])
def test_a_text_without_a_thought_is_the_answer(text):
    assert split_thought(text) == ThoughtAndAnswer("", text)


@pytest.mark.parametrize(
    ("response", "refuses"),
    [
        (f"<think>\n{MUSING}\n</think>\n\n{REFUSAL}", True),
        (f"<think>\n\n</think>\n\n{REFUSAL}", True),
        (f"<think>\n{REFUSAL}\n</think>\n\n{ANSWER}", False),
        (f"<think>\n{REFUSAL}", None),
        (f"{MUSING}\n</think>\n\n{REFUSAL}", True),
    ],
)
def test_the_answer_decides_whether_it_refuses(response, refuses):
    assert is_refusal(response) is refuses


def test_what_a_thought_states_is_not_the_answer():
    thought = "<think>maybe #### 12, or \\boxed{A}? The answer is B.</think>\n"
    assert read_number(f"{thought}The answer is 18.") == "18"
    assert read_math(f"{thought}The answer is $x^2$.") == "x^2"
    assert read_choice(f"{thought}The answer is C.", ["A", "B", "C"]) == "C"
    assert read_number("<think>The answer is 12.") is None
    assert read_choice("<think>The answer is B.", ["A", "B", "C"]) is None
