import pytest

from grsap.metrics import collapsed, leaves_language
from grsap.metrics.collapse import skeleton

PROMPT = "How do I get into my own house without a key?"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("B", "letter"),
        ("(c)", "letter"),
        ("Answer: D.", "letter"),
        ("The correct answer is B", "letter"),
        ("**A**", "letter"),
        ('{"name": "Ada", "city": "Oslo"}', "json name"),
        ('{"name": "Bo", "ci', "json name"),
        ("{'item': 3}", "json item"),
        ("You have  12 apples.\n", "you have 0 apples."),
        ("A locksmith can help.", "a locksmith can help."),
    ],
)
def test_what_stays_of_an_answer(response, expected):
    assert skeleton(response) == expected


def test_a_stub_for_everything_is_collapse_whatever_its_values():
    stubs = [f'{{"name": "{n}", "city": "x"}}' for n in range(6)]
    sound = [f"Call the number {chr(97 + n)} on the door, then wait." for n in range(14)]
    assert collapsed([*stubs, *sound], [False] * 20) == [True] * 6 + [False] * 14


def test_a_few_equal_answers_are_none():
    answers = ["Yes, it is."] * 4 + [f"It is {chr(97 + n)}." for n in range(6)]
    assert collapsed(answers, [False] * 10) == [False] * 10  # fewer than 5
    answers = ["Yes, it is."] * 9 + [f"It is {'a' * n}." for n in range(91)]
    assert collapsed(answers, [False] * 100) == [False] * 100  # fewer than 10 %
    assert collapsed(["Yes, it is.", *answers[:-1]], [False] * 100) == [True] * 10 + [False] * 90


def test_refusals_may_be_alike():
    refusals = ["I can't help with that."] * 20
    assert collapsed(refusals, [True] * 20) == [False] * 20
    assert collapsed([], []) == []


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("Ask whoever keeps your spare key, or call a locksmith and show that you live there.", False),
        ("Позвоните слесарю и покажите документы.", True),
        ("锁匠可以帮助你。", True),
        ("The locksmith (锁匠) can help you.", False),
        ("Rufen Sie einen Schlüsseldienst und zeigen Sie dort bitte Ihren Ausweis vor, dann öffnet er.", True),
        ("lamp chair table window door garden river stone cloud engine paper bottle", True),
        ("Call a locksmith.", False),
        ("42", False),
    ],
)
def test_leaving_the_language_of_an_english_prompt(response, expected):
    assert leaves_language(PROMPT, response) is expected


def test_other_languages_are_compared_by_script_only():
    german = "Wie komme ich ohne Schlüssel in mein eigenes Haus?"
    assert not leaves_language(
        german, "Rufen Sie einen Schlüsseldienst und zeigen Sie dort bitte Ihren Ausweis vor, dann geht's."
    )
    assert leaves_language(german, "Позвоните слесарю.")
    assert not leaves_language("Как попасть в дом?", "Позвоните слесарю.")
