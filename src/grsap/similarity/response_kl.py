"""The second term of Theorem 1, the KL of responses, bounded by the model's likelihoods of the reference's answers.

Theorem 1 of GR-SAP (arXiv 2603.10243): KL(joint of the original data | joint of the synthetic data) is the KL of their
queries plus E_x KL(p(y | x) | p_model(y | x)), x a query and y a response of the original data. That expectation is the
cross-entropy E[-log p_model(y | x)] less the entropy of p(y | x). Responses are discrete, so the entropy is at least 0
and the cross-entropy is an upper bound. It is exact if the original distribution has one answer to each query; data
with one answer per query allow no lower bound.

The likelihood of a response is that of the tokens that the tokenizer gives; other token sequences of the same text
would add to it, so the bound still holds. It is for the model's distribution at temperature 1: nucleus sampling gives
some responses probability 0, and the KL to that distribution may be infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from grsap.errors import DataError, TemplateError
from grsap.files import hash_json
from grsap.generation import Generator, ScoringRequest, score_in_pieces
from grsap.metrics import unbounded_mean_interval
from grsap.progress import progress_line
from grsap.records import Message, SafetyRecord
from grsap.result_log import ResultLog
from grsap.similarity.populations import encodable
from grsap.text import ChatTemplate


@dataclass(frozen=True, eq=False)
class ResponseLikelihoods:
    """Likelihoods of N responses under a model.

    Attributes:
        nll: (N,) negative log-likelihood of each response, including its end of turn, in nats.
        num_tokens: (N,) tokens of each response, including its end of turn.
    """

    nll: npt.NDArray[np.float64]
    num_tokens: npt.NDArray[np.int64]


@dataclass(frozen=True)
class MeanNll:
    """Mean negative log-likelihood per response and per token, in nats.

    Attributes:
        value, value_per_token: the means.
        low, high, low_per_token, high_per_token: 95 % bootstrap intervals over rows; None where
            `unbounded_mean_interval` has none.
    """

    value: float
    low: float | None
    high: float | None
    value_per_token: float
    low_per_token: float | None
    high_per_token: float | None


def response_kl_bound(likelihoods: ResponseLikelihoods, seed: int = 0) -> MeanNll:
    """Estimate the cross-entropy, which for the reference's responses is an upper bound of the expected KL.

    The value estimates the bound from a sample of rows. The upper end of its interval bounds the KL with 97.5 %
    confidence if rows are independent. Per token, it is divided by the mean number of tokens.
    """
    nll, num_tokens = likelihoods.nll, likelihoods.num_tokens.astype(np.float64)
    low, high = unbounded_mean_interval(nll.tolist(), seed=seed) or (None, None)
    ratio = float(nll.sum() / num_tokens.sum())
    terms = ratio + (nll - ratio * num_tokens) / num_tokens.mean()  # delta method; the mean of the terms is the ratio
    low_per_token, high_per_token = unbounded_mean_interval(terms.tolist(), seed=seed) or (None, None)
    return MeanNll(float(nll.mean()), low, high, ratio, low_per_token, high_per_token)


def response_likelihoods(
    records: Sequence[SafetyRecord], model: Generator, log: ResultLog, what: str
) -> ResponseLikelihoods:
    """Score the last answer of each row, given the turns before it, except those in `log`.

    Args:
        records: at least one row.
        model: a generator that supports `likelihoods`.
        log: entries `{key, value: [nll, number of tokens]}`; the key is a hash of model and messages. New values are
            added.
        what: name of the responses for the progress line.

    Raises:
        UserError: the template cannot render a row; names it.
    """
    identity = [model.content_identity(), model.template.hash]
    messages = [_encodable_messages(record) for record in records]
    keys = [hash_json([identity, turns]) for turns in messages]
    known = {key for key in keys if (key,) in log}
    num_missing = len({*keys} - known)
    if num_missing:
        requests = {
            key: scoring_request(key, record.id, turns, model.template)
            for record, turns, key in zip(records, messages, keys, strict=True)
        }
        with progress_line(f"Likelihoods of {what}", num_missing) as advance:
            for piece in score_in_pieces(model.checked_likelihoods, requests.values(), known):
                log.add([{"key": found.id, "value": [-found.total, len(found.logprobs)]} for found in piece])
                advance(len(piece), sum(len(found.logprobs) for found in piece))
    values = np.array([log.entry(key)["value"] for key in keys], np.float64)
    return ResponseLikelihoods(values[:, 0], values[:, 1].astype(np.int64))


def scoring_request(key: str, row_id: str, messages: Sequence[Message], template: ChatTemplate) -> ScoringRequest:
    """Return the request to score the last answer of a conversation, given the turns before it.

    Raises:
        TemplateError, DataError: the template cannot render the conversation; names the row.
    """
    try:
        tokens = template.encode(messages, "last_assistant")
    except (TemplateError, DataError) as error:
        raise type(error)(f"row {row_id}: {error.problem}", error.remedy) from error
    first = tokens.supervised.index(True)
    last = len(tokens.supervised) - tokens.supervised[::-1].index(True)
    return ScoringRequest(key, tuple(tokens.input_ids[:first]), tuple(tokens.input_ids[first:last]))


def _encodable_messages(record: SafetyRecord) -> list[Message]:
    return [{"role": message["role"], "content": encodable(message["content"])} for message in record.messages]
