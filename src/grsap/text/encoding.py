"""Encoding of rows to token ids, with counts of rows that are too long or have no target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from grsap.errors import ConfigError, DataError, TemplateError
from grsap.files import hash_json
from grsap.records import Source, check_messages, check_text, place_of_row
from grsap.text.template import ChatTemplate, LossOn

MAX_SHARE_WITHOUT_TARGET = 0.05
"""Limit of rows without a supervised token: a larger share indicates wrong settings rather than unusual rows."""


@dataclass(frozen=True)
class EncodingSettings:
    """Settings of the encoding of rows.

    Args:
        max_length: upper limit of tokens per row, prompt and response together; at least 2.
        loss_on: which tokens are supervised.
        over_length: treatment of longer rows: `drop` them, `truncate` their ends, or stop with an `error`.
        max_share_dropped: with `drop`, the share of a source's rows that may be dropped, in [0, 1]; more is an error.
    """

    max_length: int = 1024
    loss_on: LossOn = "assistant"
    over_length: Literal["drop", "truncate", "error"] = "drop"
    max_share_dropped: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.max_share_dropped <= 1:
            raise ConfigError(f"max_share_dropped is {self.max_share_dropped}", "Give a share in [0, 1]")
        if self.max_length < 2:
            raise ConfigError(f"max_length is {self.max_length}", "Give at least 2")


@dataclass(frozen=True, eq=False)
class EncodedRow:
    """A row as token ids.

    Attributes:
        id: id of the row, or a hash of its messages.
        source: source of the row.
        input_ids: (length,) int32.
        supervised: (length,) bool; False for the first token, because nothing predicts it.
    """

    id: str
    source: Source
    input_ids: npt.NDArray[np.int32]
    supervised: npt.NDArray[np.bool_]

    @property
    def length(self) -> int:
        """Return the number of tokens."""
        return len(self.input_ids)

    @property
    def num_targets(self) -> int:
        """Return the number of supervised tokens."""
        return int(self.supervised[1:].sum())


@dataclass(frozen=True)
class EncodingReport:
    """Counts of a source's rows after encoding.

    Attributes:
        num_rows: rows before filtering.
        num_over_length: rows longer than `max_length`, which are dropped or truncated.
        num_without_target: rows within `max_length` or truncated to it, but without a supervised token; dropped.
        num_with_turn_marks: rows whose answer spells one of the template's turn markers, which is learned as text.
        num_kept: rows after filtering.
        num_tokens, num_targets: tokens and supervised tokens of the kept rows.
        max_row_length: tokens of the longest row before filtering.
    """

    num_rows: int
    num_over_length: int
    num_without_target: int
    num_kept: int
    num_tokens: int
    num_targets: int
    max_row_length: int
    num_with_turn_marks: int = 0

    def notes(self, settings: EncodingSettings) -> list[str]:
        """Return warnings before training, one sentence each; empty if all rows are learned unchanged."""
        found = []
        if self.num_over_length:
            action = "cut to that length" if settings.over_length == "truncate" else "left out"
            share = self.num_over_length / self.num_rows
            found.append(
                f"{self.num_over_length:,} of {self.num_rows:,} rows ({share:.0%}) are longer than encoding.max_length "
                f"{settings.max_length:,} and are {action}; the longest has {self.max_row_length:,} tokens."
            )
        if self.num_with_turn_marks:
            found.append(
                f"{self.num_with_turn_marks:,} of {self.num_rows:,} rows have an answer that spells a token which the "
                "chat template writes around turns; there it is learned as plain text."
            )
        return found


@dataclass(frozen=True)
class EncodedRows:
    """The kept rows of a source, in order, and the counts."""

    rows: list[EncodedRow]
    report: EncodingReport


def encode_rows(
    rows: Iterable[Mapping[str, Any]],
    template: ChatTemplate,
    source: Source,
    settings: EncodingSettings,
    path: str | Path | None = None,
    check: Callable[[npt.NDArray[np.int32], str], None] | None = None,
) -> EncodedRows:
    """Encode the conversations of a source.

    Args:
        rows: rows with `messages` that end with the assistant's turn, and optionally an `id`.
        template: chat template of the base model.
        source: source of the rows.
        settings: length limit and mask.
        path: name of the rows in errors, for rows without file and line.
        check: called with the ids and place of each kept row; raises an error if they do not fit the model.

    Raises:
        DataError: messages are wrong; a row is over `max_length` when that is an error; no row is left; more than 5 %
            of the rows have no supervised token; or more rows than `max_share_dropped` are dropped.
        TemplateError: the template cannot render a conversation with a response mask.
    """
    place = path if path is not None else f"{source} rows"
    kept: list[EncodedRow] = []
    num_rows = num_over_length = num_without_target = max_row_length = num_with_turn_marks = 0
    for number, row in enumerate(rows, 1):
        num_rows = number
        path, line = place_of_row(row, place, number)
        encoded = _encode_row(row, template, source, settings.loss_on, path, line)
        answers = [message["content"] for message in row["messages"] if message["role"] == "assistant"]
        num_with_turn_marks += any(map(template.spells_turn_mark, answers))
        max_row_length = max(max_row_length, encoded.length)
        if encoded.length > settings.max_length:
            num_over_length += 1
            if settings.over_length == "error":
                raise DataError(
                    f"{encoded.length} tokens are more than encoding.max_length {settings.max_length}",
                    "Raise max_length, or set encoding.over_length to drop or truncate",
                    path=path,
                    line=line,
                )
            if settings.over_length == "drop":
                continue
            encoded = _truncate(encoded, settings.max_length)
        if not encoded.num_targets:
            num_without_target += 1
            continue
        if check is not None:
            check(encoded.input_ids, f"{path}, line {line}")
        kept.append(encoded)
    report = EncodingReport(
        num_rows=num_rows,
        num_over_length=num_over_length,
        num_without_target=num_without_target,
        num_kept=len(kept),
        num_tokens=sum(row.length for row in kept),
        num_targets=sum(row.num_targets for row in kept),
        max_row_length=max_row_length,
        num_with_turn_marks=num_with_turn_marks,
    )
    _check_report(report, settings, place)
    return EncodedRows(kept, report)


def _encode_row(
    row: Mapping[str, Any], template: ChatTemplate, source: Source, loss_on: LossOn, place: str | Path, number: int
) -> EncodedRow:
    messages = row.get("messages")
    check_messages(messages, path=place, line=number)
    assert isinstance(messages, list)
    row_id = str(row.get("id") or hash_json(messages))
    check_text(row_id, "id", path=place, line=number)
    try:
        tokens = template.encode(messages, loss_on)
    except TemplateError as error:
        raise TemplateError(f"{place}, line {number}: {error.problem}", error.remedy) from error
    except DataError as error:
        raise DataError(error.problem, error.remedy, path=place, line=number) from error
    return EncodedRow(
        id=row_id,
        source=source,
        input_ids=np.array(tokens.input_ids, dtype=np.int32),
        supervised=np.array(tokens.supervised, dtype=np.bool_),
    )


def _truncate(row: EncodedRow, max_length: int) -> EncodedRow:
    return EncodedRow(row.id, row.source, row.input_ids[:max_length].copy(), row.supervised[:max_length].copy())


def _check_report(report: EncodingReport, settings: EncodingSettings, place: str | Path) -> None:
    if report.num_without_target > MAX_SHARE_WITHOUT_TARGET * report.num_rows:
        raise DataError(
            f"{report.num_without_target} of {report.num_rows} rows have no supervised token "
            f"within encoding.max_length {settings.max_length}",
            f"Raise max_length (the longest row has {report.max_row_length} tokens) or remove rows with long prompts",
            path=place,
        )
    if report.num_rows and not report.num_kept:
        raise DataError(
            f"all {report.num_rows} rows are longer than encoding.max_length {settings.max_length}",
            f"Raise max_length; the longest row has {report.max_row_length} tokens",
            path=place,
        )
    if settings.over_length == "drop" and report.num_over_length > settings.max_share_dropped * report.num_rows:
        raise DataError(
            f"{report.num_over_length} of {report.num_rows} rows are longer than encoding.max_length "
            f"{settings.max_length} and would be left out, more than encoding.max_share_dropped "
            f"{settings.max_share_dropped:g}",
            f"Raise max_length (the longest row has {report.max_row_length} tokens), set over_length to truncate, or "
            "raise max_share_dropped",
            path=place,
        )
