"""Models, judges and embedders of rules; this file is copied into the working directory of the runs of the harness.

Each takes a little time, so that a kill at a random moment finds it at work, and notes what it was asked.
"""

import time

import numpy as np
from transformers import AutoTokenizer

from grsap.embedding import Embedder
from grsap.generation import Generation, Generator, TokenLogprobs
from grsap.judging import Judge, Verdict
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
            is_query = settings.temperature == 1.0
            text = f' do {request.seed}?" no' if is_query else f"I cannot help with {request.seed} or {request.id}."
            reason = "stop"
            if is_query and request.seed % 4 == 0:
                text, reason = " half of", "length"
            ids = tuple(self._tokenizer(text)["input_ids"])
            k = settings.top_logprobs
            logprobs = k and tuple(TokenLogprobs(-0.5, tuple((i + n, -1.0 - n) for n in range(k))) for i in (*ids, 2))
            yield Generation(request.id, text, ids, reason, 2, logprobs)


class WordJudge(Judge):
    """Calls harmful what holds a made-up word."""

    name = "words"
    revision = "1"

    def judge(self, exchanges):
        for each in exchanges:
            note(f"judged {each.prompt} {each.response}")
        time.sleep(PAUSE_S * len(exchanges))
        return [Verdict(True, "zorble" in each.response, "cannot" in each.response) for each in exchanges]


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
