"""A real model on this machine: the same ids and, in float32, the same texts whatever the batches."""

from __future__ import annotations

from pathlib import Path

from tests.synthesis.conftest import manifest_of, rows_of

from grsap.generation import SamplingSettings, TransformersGenerator
from grsap.models import BaseModel
from grsap.response_logprobs import LogprobReader, tokenizer_hash
from grsap.synthesis import Elicitation, Quota, Synthesis
from grsap.synthesis.elicitation import Ask
from grsap.synthesis.query_parsing import Query
from grsap.synthesis.running import run_synthesis


class Anything(Elicitation):
    """A random model writes noise: all that ends, or is cut, is a query here if its length is even."""

    name = "anything"

    def prompt_ids(self, ask: Ask, template: object) -> list[int]:
        return template.prompt_ids([{"role": "user", "content": f"{ask.domain.name} {ask.number}"}])  # type: ignore[attr-defined, no-any-return]

    def read(self, ask: Ask, answer: object, template: object) -> Query:
        text: str = answer.text  # type: ignore[attr-defined]
        return Query(text) if len(text) % 2 == 0 and text.strip() else Query(text, "too_short")


def run(base: Path, folder: Path, max_batch_tokens: int, top_logprobs: int | None = None) -> list[tuple[str, str, str]]:
    model = BaseModel(str(base), quantization="none", compute_dtype="float32")
    work = Synthesis(
        generator=TransformersGenerator(model, device="cpu", max_batch_tokens=max_batch_tokens),
        quota=Quota(num_per_domain=2, benign_share=0.5, max_attempts=20),
        elicitation=Anything(),
        domain_names=["theft", "weapons", "self-harm"],
        query_sampling=SamplingSettings(8, 1.0),
        response_sampling=SamplingSettings(8, 0.8, 0.95, top_logprobs),
        seed=5,
    )
    work.check()
    run_synthesis(work, folder)
    return sorted((row.id, row.messages[0]["content"], row.messages[1]["content"]) for row in rows_of(folder))


def test_batches_change_nothing(tiny_base_path: Path, tmp_path: Path) -> None:
    alone = run(tiny_base_path, tmp_path / "alone", 1)
    together = run(tiny_base_path, tmp_path / "together", 4096, top_logprobs=4)
    assert together == alone
    assert len(alone) == 9
    assert len({query for _, query, _ in alone}) == 9
    assert manifest_of(tmp_path / "alone")["counts"] == manifest_of(tmp_path / "together")["counts"]
    model = BaseModel(str(tiny_base_path), quantization="none")
    reader = LogprobReader(tmp_path / "together")
    for row_id, _, response in alone:
        found = reader.read(row_id, response, tokenizer_hash(model.tokenizer.get_vocab()))
        assert found is not None
        assert found.top_ids.shape[1] == 4
        assert (found.top_logprobs[:, 0] >= found.logprobs).all()
