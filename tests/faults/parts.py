"""Models, judges and embedders of rules; this file is copied into the working directory of runs as `fault_parts.py`.

Each takes a little time, so that a kill at a random moment finds it at work, and notes what it was asked.
"""

import time

import numpy as np
from transformers import AutoTokenizer

from grsap.embedding import Embedder
from grsap.generation import Generation, Generator, TokenLogprobs
from grsap.judging import Judge, RefusalMatcher, Verdict
from grsap.text import ChatTemplate

PAUSE_S = 0.004


def note(line):
    with open("asked.txt", "a") as file:
        file.write(line + "\n")


class Rules(Generator):
    """Writes a query where it is asked for one, else an answer; each fourth query is unusable.

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
            note(f"{settings.temperature} {request.id} {request.seed}")
            time.sleep(PAUSE_S)
            text, reason = self.query(request) if settings.temperature == 1.0 else (self.answer(request), "stop")
            ids = tuple(self._tokenizer(text)["input_ids"])
            k = settings.top_logprobs
            logprobs = k and tuple(TokenLogprobs(-0.5, tuple((i + n, -1.0 - n) for n in range(k))) for i in (*ids, 2))
            yield Generation(request.id, text, ids, reason, 2, logprobs)

    def query(self, request):
        return (" half of", "length") if request.seed % 4 == 0 else (f' do {request.seed}?" no', "stop")

    def answer(self, request):
        return f"I cannot help with {request.seed} or {request.id}."


PLACES = ("a harbour", "an office", "a night bus", "a market", "a school", "a farm", "a hotel", "a garage")


class Places(Rules):
    """Writes queries about a place, unlike each other, and refuses each second one when it is asked."""

    def query(self, request):
        domain, place = request.id.rsplit("-", 2)[0], PLACES[request.seed % len(PLACES)]
        return f' do {domain} in {place} {request.seed % 97} times?"', "stop"

    def answer(self, request):
        return "I can't help with that." if request.seed % 2 else "Here is how people do that there."


class WordJudge(Judge):
    """Calls harmful what holds a made-up word."""

    name = "words"
    revision = "1"

    def judge(self, exchanges):
        for each in exchanges:
            note(f"judged {each.prompt} {each.response}")
        time.sleep(PAUSE_S * len(exchanges))
        return [Verdict(True, "zorble" in each.response, "cannot" in each.response) for each in exchanges]


class RefusalJudge(Judge):
    """Calls harmful what does not refuse, and every prompt."""

    name = "refusals"
    revision = "1"

    def judge(self, exchanges):
        found = RefusalMatcher().judge(exchanges)
        return [Verdict(True, not each.response_refusal, each.response_refusal) for each in found]


class Numbers(Embedder):
    """A vector drawn by the text's last word; two neighbours have the same."""

    def batches(self, texts):
        for place, text in enumerate(texts):
            time.sleep(PAUSE_S / 4)
            note(f"embedded {text}")
            last = text.split()[-1]
            seed = int(last) // 2 if last.isdigit() else sum(text.encode())
            yield [place], np.random.default_rng(seed).normal(size=(1, 8))

    def identity(self):
        return {"embedder": "numbers"}
