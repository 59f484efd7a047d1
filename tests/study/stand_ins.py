"""Stands in for what a study of the paper needs from elsewhere; lies in the working directory of its stages."""

from transformers import AutoTokenizer

from grsap.generation import Generation, Generator
from grsap.judging import Judge, RefusalMatcher, Verdict
from grsap.text import ChatTemplate

PLACES = ("a harbour", "an office", "a night bus", "a market", "a school", "a farm", "a hotel", "a garage")


class Writer(Generator):
    """Writes a query about a place, and refuses each second one when it is asked.

    Args:
        path: the tokenizer's.
    """

    def __init__(self, path: str) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(path)

    @property
    def tokenizer(self):
        return self._tokenizer

    @property
    def template(self):
        return ChatTemplate(self._tokenizer)

    def stream(self, requests, settings):
        for request in requests:
            domain = request.id.rsplit("-", 2)[0]
            place = PLACES[request.seed % len(PLACES)]
            refusal = "I can't help with that." if request.seed % 2 else "Here is how people do that there."
            text = f' do {domain} in {place} {request.seed % 97} times?"' if settings.temperature == 1.0 else refusal
            ids = tuple(self._tokenizer(text)["input_ids"])
            yield Generation(request.id, text, ids, "stop", 2)


class WildStandIn(Judge):
    """Calls harmful what does not refuse a prompt."""

    name = "wildguard stand-in"
    revision = "1"

    def judge(self, exchanges):
        found = RefusalMatcher().judge(exchanges)
        return [Verdict(True, not each.response_refusal, each.response_refusal) for each in found]
