"""A generator with prepared answers, and rows with known verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.curation.conftest import row

from grsap.generation import Generation, GenerationRequest, Generator, SamplingSettings
from grsap.text import ChatTemplate

WITHHELD = "(withheld)"


class Scripted(Generator):
    """Gives the answers listed for each row id, one per request."""

    tokenizer = template = None  # type: ignore[assignment]

    def __init__(self, tokenizer: Any, answers: dict[str, list[str]]) -> None:
        self.tokenizer, self.template = tokenizer, ChatTemplate(tokenizer)
        self.answers = answers
        self.asked: list[tuple[str, str]] = []
        self.seeds: set[int] = set()

    def stream(self, requests: Sequence[GenerationRequest], settings: SamplingSettings) -> Iterator[Generation]:
        for request in requests:
            attempt = sum(row_id == request.id for row_id, _ in self.asked)
            self.asked.append((request.id, self.template.decode(request.prompt_ids)))
            self.seeds.add(request.seed)
            text = self.answers[request.id][attempt]
            if text == WITHHELD:
                yield Generation(request.id, "", (), "withheld", withheld_because="content_filter")
            else:
                yield Generation(request.id, text, (1,), "length" if text.endswith("...") else "stop")


def judged_rows() -> list[dict[str, Any]]:
    return [
        row("a", "How do I steal?"),
        row("b", "How do I steal?", response="You zorble it at night."),
        row("c", "How do I bake bread?", response="You zorble it at night."),
        row("d", "How do I steal?", response="mumble mumble mumble"),
        row("e", "How do I bake bread?", response="You take flour and water."),
        row("f", "How do I steal?", response="It hurts people who worked for it."),
        row("g", "How do I bake bread?"),
    ]
