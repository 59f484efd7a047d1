"""Likelihood scoring: log-probabilities of given continuations, in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from grsap.errors import ConfigError, DataError, ModelError
from grsap.generation.base import Likelihood, ScoringRequest
from grsap.generation.batching import batch_by_length
from grsap.models.compute import logits_chunk_size
from grsap.models.dense import dense
from grsap.models.evaluation_mode import evaluation_modes
from grsap.models.lora import OutputHead, backbone, compute_context, inner_model
from grsap.text.collation import MicroBatch, collate_padded
from grsap.text.encoding import EncodedRow

PIECE = 64
"""Number of rows that are scored between two writes."""


def score_in_pieces(
    likelihoods: Callable[[Sequence[ScoringRequest]], Iterable[Likelihood]],
    requests: Iterable[ScoringRequest],
    known: Container[str] = (),
) -> Iterator[list[Likelihood]]:
    """Score requests in pieces of `PIECE`, longest first; yield the new results of each piece.

    Rounding depends on the other rows of a batch. A piece with any missing result is therefore scored whole, so that
    after a kill or a partial loss of results the numbers equal those of a single call.

    Args:
        likelihoods: scores requests, such as `Generator.likelihoods`.
        requests: all requests of the set, with distinct ids.
        known: ids that already have a result; not yielded again.
    """
    order = sorted(requests, key=lambda each: (-len(each.prompt_ids) - len(each.continuation_ids), each.id))
    for start in range(0, len(order), PIECE):
        piece = order[start : start + PIECE]
        if any(each.id not in known for each in piece):
            yield [found for found in likelihoods(piece) if found.id not in known]


class LikelihoodScorer:
    """Score continuations with a transformers model that is in memory.

    The model is in evaluation mode while scoring, and its mode is restored afterwards. Apart from floating-point
    rounding, a result depends on its request only.

    Args:
        model: a causal language model, or a PEFT model around one.
        pad_token_id: pads the rows of a batch; masked in attention.
        max_batch_tokens: upper limit of number of rows times longest row, in tokens per batch.
        dtype: autocast dtype of matrix products; with None or float32, they use the dtype of the weights.
            Log-probabilities are float32.

    Raises:
        ConfigError: `max_batch_tokens` is not positive.
    """

    def __init__(
        self, model: nn.Module, pad_token_id: int, max_batch_tokens: int = 8192, dtype: torch.dtype | None = None
    ) -> None:
        if max_batch_tokens < 1:
            raise ConfigError(f"max_batch_tokens is {max_batch_tokens}", "Give a number of tokens of at least 1")
        self.model = model
        self.pad_token_id = pad_token_id
        self.max_batch_tokens = max_batch_tokens
        self.dtype = dtype or torch.float32

    def stream(self, requests: Sequence[ScoringRequest]) -> Iterator[Likelihood]:
        """Yield one result per request, batch by batch, longest first.

        Raises:
            DataError: a request has an empty prompt or continuation.
            ModelError: a log-probability is NaN or infinite.
        """
        rows = [_row(request) for request in requests]
        with evaluation_modes(self.model), dense(self.model, self.dtype):
            for batch in batch_by_length([row.length for row in rows], 0, self.max_batch_tokens):
                yield from self._score([rows[index] for index in batch])

    def _score(self, rows: Sequence[EncodedRow]) -> list[Likelihood]:
        device = next(self.model.parameters()).device
        batch = collate_padded(rows, self.pad_token_id).to(device)
        with torch.no_grad(), compute_context(self.model, device, self.dtype):
            logprobs = self._logprobs(batch).cpu().split(list(batch.num_targets))
        for row_id, values in zip(batch.row_ids, logprobs, strict=True):
            if not torch.isfinite(values).all():
                raise ModelError(
                    f"the model's log-probabilities of request {row_id} are not finite",
                    "Set compute_dtype to bfloat16 or float32, or check the weights",
                )
        return [
            Likelihood(row_id, tuple(values.tolist())) for row_id, values in zip(batch.row_ids, logprobs, strict=True)
        ]

    def _logprobs(self, batch: MicroBatch) -> Tensor:
        """Return the log-probabilities of the targets, (T,) float32, in order."""
        model = inner_model(self.model)  # type: ignore[arg-type]  # a model of transformers is an nn.Module
        output = backbone(model)(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
        )
        hidden = output.last_hidden_state.flatten(0, 1)[batch.target_positions]
        head = OutputHead(model)
        chunk_size = logits_chunk_size(hidden.device)
        parts = zip(hidden.split(chunk_size), batch.target_ids.split(chunk_size), strict=True)
        return torch.cat([head(states).float().log_softmax(-1).gather(-1, ids[:, None])[:, 0] for states, ids in parts])


def _row(request: ScoringRequest) -> EncodedRow:
    num_prompt = len(request.prompt_ids)
    if not num_prompt or not request.continuation_ids:
        empty = "continuation" if num_prompt else "prompt"
        raise DataError(f"request {request.id} has no {empty} to score", "Give at least one token of each")
    ids = np.array(request.prompt_ids + request.continuation_ids, np.int32)
    return EncodedRow(request.id, "task", ids, np.arange(len(ids)) >= num_prompt)
