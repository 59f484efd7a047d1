"""`grsap predict`: generate the model's answers to the task's test rows and write them to a file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from grsap.appending import json_line
from grsap.data import MixtureDataModule, StepBatch
from grsap.data.conversations import rows_of
from grsap.disk import writing
from grsap.errors import ConfigError
from grsap.files import atomic_writer, hash_json, set_aside
from grsap.generation.base import GenerationRequest, SamplingSettings
from grsap.text.collation import MicroBatch
from grsap.training import SafetyFineTuning

SAMPLING = SamplingSettings(max_new_tokens=256)
"""Greedy decoding. Answers that reach the limit have the `finish_reason` `length`."""


class AnsweringModule(SafetyFineTuning):
    """Generates answers to the rows' prompts."""

    def predict_step(self, batch: StepBatch, batch_idx: int) -> list[dict[str, str]]:
        """Return one answer per row: id, response, finish_reason. The prompt ends before the first supervised token."""
        requests = [request for micro_batch in batch.micro_batches for request in prompts_of(micro_batch)]
        answers = self.generator().generate(requests, SAMPLING)
        return [{"id": each.id, "response": each.text, "finish_reason": each.finish_reason} for each in answers]


def prompts_of(batch: MicroBatch) -> list[GenerationRequest]:
    """Return the prompts of a micro-batch's rows."""
    width = batch.input_ids.shape[1]
    positions = sorted(int(position) for position in batch.target_positions)
    requests = []
    for row_id, span in zip(batch.row_ids, batch.spans, strict=True):
        first = span.batch_index * width + span.start
        # Logits at position i predict the token at i + 1: those of the first target are at the prompt's last position.
        last = next(position for position in positions if first <= position < first + span.length)
        ids = batch.input_ids[span.batch_index, span.start : span.start + last - first + 1]
        requests.append(GenerationRequest(row_id, tuple(ids.tolist())))
    return requests


def prepare_prediction(data: MixtureDataModule, world_size: int) -> None:
    """Encode the test rows, before weights are loaded.

    Raises:
        UserError: there are no rows, a row is wrong, or there is more than one device.
    """
    if world_size > 1:
        raise ConfigError(f"grsap predict runs on one device, not on {world_size}", "Set trainer.devices to 1")
    data.encoding = replace(data.encoding, loss_on="last_assistant")  # all turns before the last one are the prompt
    data.prepare_data()
    data.setup("predict")
    first = next(iter(rows_of(data.task, "test")), None)
    if first is not None and data.task.has_score:  # an invalid score is found before the answers are written
        data.task.checked_score(str(first["messages"][-1]["content"]), first)


def write_answers(path: Path, data: MixtureDataModule, answers: list[dict[str, str]]) -> tuple[int, Path | None]:
    """Write one JSON line per answer: id, messages, response, finish_reason, weights, and score if the task has one.

    An older file with other answers is moved aside. Only the owner can read the file, because it contains text.

    Returns:
        The number of lines, and the new path of an older file with other answers.
    """
    by_id = {answer["id"]: answer for answer in answers}
    lines: list[dict[str, Any]] = []
    for row in rows_of(data.task, "test"):
        answer = by_id.get(str(row.get("id") or hash_json(row["messages"])))
        if answer is None:
            continue  # dropped for its length
        line = {**answer, "messages": row["messages"]}
        if data.task.has_score:
            line["score"] = data.task.checked_score(answer["response"], row)
        lines.append(line)
    text, kept = b"".join(map(json_line, lines)), None
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(path, mode=0o600) as file:
        file.write(text)
        with writing(path):  # before the older file moves, which must stay in place if the disk is full
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and path.read_bytes() != text:
            kept = set_aside([path]) / path.name
    return len(lines), kept
