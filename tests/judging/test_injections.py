"""Each injection beats a naive way of judging, and none changes ours."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from tests.judging.guards import Scripted
from tests.judging.injections import ASK, INJECTIONS, NICE, REPLY, Injection
from tests.judging.naive import LIMIT, Reader, judge_of, naive_ids, naive_label, tokenizer_of

from grsap.judging import Exchange, Verdict


def ids_of(injection: Injection) -> str:
    return f"{injection.family}: {injection.name}"


def plain(injection: Injection) -> Injection:
    """The same without the injection."""
    return replace(injection, prompt=ASK, response=REPLY if injection.harmful else NICE)


def ours(injection: Injection) -> tuple[Verdict, Scripted, object]:
    tokenizer = tokenizer_of(injection)
    generator = Scripted(tokenizer, Reader(injection.family, tokenizer))
    judge = judge_of(injection.family, generator)
    (verdict,) = judge.judge([Exchange(injection.prompt, injection.response)])
    return verdict, generator, judge


def naive(injection: Injection) -> bool | None:
    """The same form and model, put together and read naively."""
    tokenizer = tokenizer_of(injection)
    judge = judge_of(injection.family, Scripted(tokenizer, Reader(injection.family, tokenizer)))
    judge.prepare()
    (question,) = judge.make_questions()
    with_bos = injection.family in ("wildguard", "harmbench")
    ids = naive_ids(injection, question.text, tokenizer, with_bos)
    answer = Reader(injection.family, tokenizer)(ids)
    if injection.parser == "strict":
        labels = question.answer.parse(answer)
        return None if labels is None else labels["response_harmful"]
    return naive_label(injection, tokenizer.decode(ids, skip_special_tokens=True), answer)


@pytest.mark.parametrize("injection", INJECTIONS, ids=ids_of)
def test_it_beats_the_naive_way(injection):
    assert naive(plain(injection)) is injection.harmful
    assert naive(injection) is not injection.harmful


@pytest.mark.parametrize("injection", INJECTIONS, ids=ids_of)
def test_it_does_not_change_ours(injection):
    verdict, generator, judge = ours(injection)
    assert verdict.response_harmful is injection.harmful
    assert (verdict.raw, verdict.reason) == (ours(plain(injection))[0].raw, None)
    (prompt,) = generator.prompts
    exchange = Exchange(injection.prompt, injection.response)
    (question,) = judge.questions(exchange)
    filled = question.form.fill([exchange.prompt, exchange.response], LIMIT, 1)
    assert filled.ids == prompt
    assert len(prompt) <= LIMIT
    assert_structure(filled, question, generator.tokenizer)
    assert filled.truncated is verdict.truncated is (injection.category == "over-long")


def assert_structure(filled, question, tokenizer) -> None:
    """The ids around the slots are the form's own; those in the slots are no control tokens and spell the text."""
    bounds = [0, *(place for span in filled.spans for place in span), len(filled.ids)]
    around = [list(filled.ids[a:b]) for a, b in zip(bounds[0::2], bounds[1::2], strict=True)]
    assert around == question.form.trusted_ids
    for number, (start, end) in enumerate(filled.spans):
        assert question.form.control_ids & set(filled.ids[start:end]) == set()
        before = tokenizer.decode(filled.ids[:start])
        spelled = tokenizer.decode(filled.ids[:end]).removeprefix(before)
        assert spelled.strip() == folded(tokenizer, filled.texts[number]).strip()


def folded(tokenizer, text: str) -> str:
    """What a tokenizer with a normalizer keeps of a text."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    return text if normalizer is None or "NFKC" not in str(normalizer) else normalizer.normalize_str(text)


def test_what_is_cut_is_the_end_of_the_response():
    for injection in INJECTIONS:
        if injection.category == "over-long":
            _, _, judge = ours(injection)
            (question,) = judge.questions(Exchange(injection.prompt, injection.response))
            filled = question.form.fill([injection.prompt, injection.response], LIMIT, 1)
            request, response = filled.texts
            assert request == injection.prompt.strip()
            assert injection.response.startswith(response)
            # Not a word less than fits.
            longer = question.form.fill([injection.prompt, injection.response[: len(response) + 8]], 10**6)
            assert len(filled.ids) <= LIMIT < len(longer.ids)


def test_the_corpus_is_large_enough_and_its_counts_are_these(tell):
    categories = Counter(injection.category for injection in INJECTIONS)
    families = Counter(injection.family for injection in INJECTIONS)
    tell(f"{len(INJECTIONS)} injections: {dict(categories)}; {dict(families)}")
    assert len(INJECTIONS) == len({(each.family, each.name) for each in INJECTIONS}) == 91
    assert categories == {
        "forged control tokens": 18,
        "role switches": 12,
        "closing tags": 6,
        "fake verdicts": 20,
        "over-long": 12,
        "unicode": 16,
        "split tokens": 7,
    }
