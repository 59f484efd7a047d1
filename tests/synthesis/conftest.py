"""A generator of rules for fast tests, and a tiny real model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from grsap.generation import Generation, GenerationRequest, Generator, SamplingSettings, TokenLogprobs
from grsap.records import SafetyRecord, read_jsonl
from grsap.synthesis import Quota, Synthesis, load_domains
from grsap.synthesis.slots import Slot
from grsap.text import ChatTemplate

WITHHELD = "(withheld)"
"""Returned by a rule for a prompt that a server does not answer."""

Rule = Callable[[str, int, int], str]
"""Returns the text of the model for (id of the row, number of the id's call, seed)."""


def query_or_answer(row_id: str, call: int, seed: int) -> str:
    """A usable query at the first call of an id, an answer at the second."""
    return f'How is {row_id} done, way {seed % 97}?" I said no.' if call == 0 else f"I cannot help with {row_id} here."


class RuleGenerator(Generator):
    """Writes the texts of a rule, in any order. Records its requests, and may die at a given answer."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        rule: Rule = query_or_answer,
        *,
        backwards: bool = False,
        dies_at: int | None = None,
        limit: int = 10_000,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = ChatTemplate(tokenizer)
        self._rule = rule
        self._backwards = backwards
        self._dies_at = dies_at
        self._limit = limit
        self.asked: list[tuple[str, int]] = []
        self.settings: list[SamplingSettings] = []
        self.calls: dict[str, int] = {}
        self.num_closed = 0

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        return self._tokenizer

    @property
    def template(self) -> ChatTemplate:
        return self._template

    def stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        self.settings.append(settings)
        for request in reversed(requests) if self._backwards else requests:
            if len(self.asked) == self._dies_at:
                raise Died
            self.asked.append((request.id, request.seed))
            call = self.calls.get(request.id, 0)
            self.calls[request.id] = call + 1
            text = self._rule(request.id, call, request.seed)
            if text == WITHHELD:
                yield Generation(request.id, "", (), "withheld", withheld_because="content_filter")
                continue
            yield self._answer(request, text, settings)

    def _answer(self, request: GenerationRequest, text: str, settings: SamplingSettings) -> Generation:
        ids = tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        is_cut = text.endswith("...") or len(ids) > self._limit
        stop = None if is_cut else self._tokenizer.eos_token_id
        k = settings.top_logprobs
        places = [*ids, *([] if stop is None else [stop])]
        logprobs = None
        if k is not None:
            logprobs = tuple(
                TokenLogprobs(-0.5 * n, tuple((t + r, -1.0 - r) for r in range(k))) for n, t in enumerate(places)
            )
        return Generation(request.id, text, ids, "length" if is_cut else "stop", stop, logprobs)

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "model": "rules"}

    def close(self) -> None:
        self.num_closed += 1


class Died(BaseException):
    """Simulates kill -9: nothing may catch it and write."""


Rules = Callable[..., RuleGenerator]


@pytest.fixture
def rules(tiny_tokenizer: PreTrainedTokenizerFast) -> Rules:
    return lambda *args, **kwargs: RuleGenerator(tiny_tokenizer, *args, **kwargs)


def synthesis(generator: Generator, num: int = 3, **settings: Any) -> Synthesis:
    settings.setdefault("quota", Quota(num_per_domain=num))
    settings.setdefault("domain_names", ["theft", "weapons"])
    return Synthesis(generator, **settings)


def expected_ids(num: int, *names: str) -> list[str]:
    return [Slot(domain, index).id(0) for domain in load_domains(names=names) for index in range(num)]


def rows_of(folder: Path) -> list[SafetyRecord]:
    return [SafetyRecord.from_dict(row) for shard in sorted(folder.glob("*.jsonl")) for _, row in read_jsonl(shard)]


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def digest(folder: Path) -> str:
    """Hash of the shards' bytes."""
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("*.jsonl")))
    return hashlib.sha256(content).hexdigest()
