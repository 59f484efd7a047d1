"""A table of answers with their right reading, told by hand. None: it cannot be told (`unparsed`)."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grsap.errors import MissingPackageError
from grsap.evaluation.answers import ANSWER_FORMS, equal_numbers, read_choice, read_math, read_number

NUMBERS = [
    # GSM8K's own form
    ("Natalia sold 48/2 = 24 clips in May.\nAltogether 48+24 = 72 clips.\n#### 72", "72"),
    ("#### 1,234", "1234"),
    ("#### $18", "18"),
    ("####\n-3", "-3"),
    ("#### 5\nWait, that is wrong.\n#### 6", "6"),
    ("#### I do not know; 5 of 7 people would.", None),
    ("The answer is 9.\n#### none", None),
    # the last statement
    ("The answer is 42.", "42"),
    ("Answer: 42 apples", "42"),
    ("The final answer is: **1,234,567**", "1234567"),
    ("The answer is 5. No, I forgot one. The answer is 6.", "6"),
    ("The answer is 42 because 6*7 = 42", "42"),
    ("The answer is 42 (6 times 7).", "42"),
    ("The answer to the question is 12.", "12"),
    ("The answer is 5 or 6.", None),
    ("The answer is not 5.", None),
    ("The answer isn't 5.", None),
    ("The answer is between 5 and 10.", None),
    ("The answer is five.", None),
    (r"So we get \boxed{17}.", "17"),
    (r"\boxed{\frac{3}{4}}", "3/4"),
    (r"First \boxed{1}, then \boxed{2}.", "2"),
    (r"\boxed{x + 1 = 3}", "3"),
    (r"\boxed{\$1,200}", "1200"),
    (r"\boxed{17", None),
    # no statement: the last sentence that holds a number
    ("42", "42"),
    ("-7", "-7"),
    ("−7", "-7"),
    ("$3.50", "7/2"),
    ("-$3", "-3"),
    ("$-3", "-3"),
    (".5", "1/2"),
    ("1/2", "1/2"),
    ("2 1/2 cups", "5/2"),
    ("3/0", None),
    ("50%", "50"),
    ("72 km/h", "72"),
    ("5kg", "5"),
    ("2 million people", "2000000"),
    ("1.5e3", "1500"),
    ("10^3", None),
    ("3:30", None),
    ("the 2nd one", None),
    ("12, 15", None),
    ("5-10", None),
    ("1,00", None),
    ("€1 234,00", None),
    ("She had 9 and ate 4. So 9 - 4 = 5 are left.", "5"),
    ("5 - 8 = -3", "-3"),
    ("So Tom has 12 eggs. I hope that this helps!", "12"),
    ("So 3 of the 5 apples remain.", None),
    ("It takes 3 m^2.", None),
    ("He does not need 5.", None),
    ("I cannot say.", None),
    ("", None),
    ("CO2 is 7", "7"),
    ("<|im_end|>", None),
    ("The answer is minus 5", "-5"),
    ("negative 5", "-5"),
    ("Answer: 7²", None),
    ("Answer: 10 + 5 = 15", "15"),
    ("9" * 5000, None),
    ("The answer is 1e999999999", None),
    ("The answer is 1e9999", None),  # four digits without a sign: more than Python writes as text
    ("The answer is 1e+9999", None),
]

FOUR = ("A", "B", "C", "D")
LETTERS = [
    ("I would pick a sensible option: B", "B"),  # fault 15 of the reference code: read as A there
    ("B", "B"),
    ("b", "B"),
    ("(C)", "C"),
    ("C.", "C"),
    ("**D**", "D"),
    ("d)", "D"),
    ("Answer: d", "D"),
    ("answer: (d)", "D"),
    ("The answer is A.", "A"),
    ("The answer is A", "A"),
    ("The answer is A because it is short.", "A"),
    ("The answer is A sensible plan.", None),
    ("The answer is a matter of taste.", None),
    ("The correct answer is (C) aspirin.", "C"),
    ("The correct answer is C aspirin.", "C"),
    ("The correct option is: D) nothing", "D"),
    (r"\boxed{C}", "C"),
    (r"\boxed{\text{B}}", "B"),
    ("B) It rains.", "B"),
    ("B. It rains.", "B"),
    ("B\n\nQuestion: What comes next?", "B"),
    ("A. red\nB. blue\nC. green\nAnswer: B", "B"),
    ("A. red\nB. blue\nC. green", None),
    ("Option A is wrong, so option B.", "B"),
    ("I would not choose A; I choose D.", "D"),
    ("It could be option A, but the answer is C.", "C"),
    ("The answer is A. On second thought, the answer is D.", "D"),
    ("The answer is A or B.", None),
    ("The answer is not A.", None),
    ("Not A.", None),
    ("A or B", None),
    ("A and C", None),
    ("Both (A) and (B) fit.", None),
    ("Because of the cold, (B) fits.", "B"),
    ("(A) is wrong. (B) fits.", "B"),
    ("None of the above", None),
    ("E", None),
    ("AB", None),
    ("A sensible plan", None),
    ("a good question", None),
    ("e.g. Bob", None),
    ("I do not know.", None),
    ("", None),
    ("the red one", "A"),  # a choice's text word by word
    ("The Red One.", "A"),
    ("the red one, perhaps", None),
    ("C is correct.", "C"),
    ("I believe D is the best.", "D"),
    ("C is not correct.", None),
    ("'A'", "A"),
    ("B - It rains.", "B"),
    ("Answer: D-dimer", None),
    ("Q: Which?\nA: Paris", None),
    ("A:", "A"),
    ("B: It rains.", "B"),
]
TEXTS = ("the red one", "the blue one", "the green one", "the grey one")

MOODS = ("negative", "positive")
WORDS = [
    ("not positive, negative", "negative"),  # fault 15: read as positive there
    ("positive", "positive"),
    ("Negative.", "negative"),
    ("**Positive**", "positive"),
    ("The sentiment is negative.", "negative"),
    ("Sentiment: positive", "positive"),
    ("It has positive moments, but the answer is negative.", "negative"),
    ("The review names positive and negative things.", None),
    ("not negative", None),
    ("It isn't very positive.", None),
    ("neither positive nor negative", None),
    ("not positive but negative", "negative"),
    ("positively", None),
    ("neutral", None),
    ("negative positive", None),
    ("non-positive", None),
    ("Negative, not positive", "negative"),
]


@pytest.mark.parametrize(("response", "reading"), NUMBERS)
def test_numbers(response: str, reading: str | None) -> None:
    assert read_number(response) == reading


@pytest.mark.parametrize(("response", "reading"), LETTERS)
def test_letters(response: str, reading: str | None) -> None:
    assert read_choice(response, FOUR, TEXTS) == reading


@pytest.mark.parametrize(("response", "reading"), LETTERS)
def test_small_letters_as_labels(response: str, reading: str | None) -> None:
    small = [letter.lower() for letter in FOUR]
    assert read_choice(response, small, TEXTS) == (None if reading is None else reading.lower())


@pytest.mark.parametrize(("response", "reading"), WORDS)
def test_words(response: str, reading: str | None) -> None:
    assert read_choice(response, MOODS, MOODS) == reading


def test_numbers_are_compared_by_value() -> None:
    assert equal_numbers("7/2", "3.5")
    assert not equal_numbers("7/2", "7")


@pytest.mark.parametrize(
    ("response", "reading"),
    [
        (r"Thus $x = \boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{1} and then \boxed{\text{(}0,1\text{)}}", r"\text{(}0,1\text{)}"),
        (r"The answer is $2\sqrt{3}$.", r"2\sqrt{3}"),
        (r"The final answer is: \(-4\)", "-4"),
        (r"\boxed{unclosed", None),
        (r"\boxed{}", None),
        ("I cannot say.", None),
        (r"\boxed{" + "9" * 600 + "}", None),
    ],
)
def test_what_is_read_of_mathematics(response: str, reading: str | None) -> None:
    assert read_math(response) == reading


@pytest.mark.parametrize(
    ("found", "reference", "is_equal"),
    [
        (r"\frac{1}{2}", "0.5", True),
        (r"\dfrac12", r"\frac{1}{2}", True),
        (r"2\sqrt{3}", r"\sqrt{12}", True),
        ("x = 5", "5", True),
        (r"(1, 2)", r"(1,2)", True),
        (r"(2, 1)", r"(1,2)", False),
        ("6", "5", False),
        (r"\{1,2\}", r"\{2,1\}", True),
        ("nonsense", "5", False),
        ("5", r"\frac{1}{", None),  # the reference has no mathematical reading: no answer can be wrong, or right
        (r"\frac{1}{", r"\frac{1}{", None),
    ],
)
def test_mathematical_equality(found: str, reference: str, is_equal: bool | None) -> None:
    assert ANSWER_FORMS["math"].equal(found, reference) is is_equal


def test_a_word_that_is_repeated_without_end_is_read_in_time() -> None:
    started = time.monotonic()
    assert read_choice("positive " * 4000, MOODS, MOODS) == "positive"
    assert time.monotonic() - started < 10  # without a bound to a negation's reach it took over 30 s


@given(st.text(alphabet=st.sampled_from("ABCD ab().:-=#1234,/^e\\{}boxed answer is not positive\n")))
def test_any_text_is_read_or_not(text: str) -> None:
    assert read_choice(text, FOUR, TEXTS) in (*FOUR, None)
    assert read_choice(text, MOODS, MOODS) in (*MOODS, None)
    number = read_number(text)
    assert number is None or equal_numbers(number, number)
    assert read_math(text) != ""


@pytest.mark.slow
def test_what_cannot_be_computed_ends() -> None:
    assert not ANSWER_FORMS["math"].equal("9^{9^{9^{9}}}", "5")


def test_mathematics_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(MissingPackageError, match="the extra `math`"):
        ANSWER_FORMS["math"].equal("1/2", "0.5")
