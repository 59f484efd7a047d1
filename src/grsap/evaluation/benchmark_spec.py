"""Benchmarks described by data: the source of the rows and the meaning of its columns."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from grsap.data.columns import Place, cell, cell_text, fill_template, is_missing, not_text
from grsap.data.row_selection import HarmLabel, Value, is_selected
from grsap.data.row_source import RowSource
from grsap.errors import ConfigError, DataError, NotUnicodeError
from grsap.evaluation.answers import ANSWER_FORMS, AnswerForm, read_choice
from grsap.evaluation.benchmark import Benchmark, BenchmarkItem, Kind, LoadedBenchmark
from grsap.files import hash_json
from grsap.records import Message, check_text, read_messages

COLUMN_NAMES = ("id", "messages", "prompt", "subset", "domain", "pair_id", "reference")
LETTERED_CHOICES = "lettered_choices"
"""Placeholder in a prompt template for the choices, one per line: `A. ...`."""


@dataclass(frozen=True)
class BenchmarkSpec(Benchmark):
    """A benchmark that a YAML file describes.

    Args:
        name: lower-case letters, digits, `_` and `-`.
        kind: `safety`, `multiple_choice` or `answer`.
        source: where the rows are.
        columns: our name -> the source's: `prompt` or `messages`, `reference`, and optionally `id`, `subset`,
            `domain`, `pair_id`.
        prompt_template: the user's turn, with columns in braces, instead of `columns.prompt`; `{lettered_choices}`
            inserts the choices.
        prompt_harmful: of `safety`: true or false for all rows, or a column and its values.
        where: column -> values; rows with other values are left out.
        choices: of `multiple_choice`: texts, or templates such as `"{endings[0]}"`.
        labels: of the choices in an answer: letters by default, or words, one per choice.
        reference_labels: the reference column's value -> label; by default the column holds labels.
        answer: of `answer`: how answers are parsed, `number`, `math` or `text`.
        contrast_prefix: the n-th row of the subset PREFIX + X and the n-th row of the subset X form a pair; empty for
            pairs by `columns.pair_id`, or none.
        dedupe: leave out rows whose prompt and choices occurred before.
        limit: maximum number of items, sampled by `seed` and the items' ids; by default all.
        seed: of the sample.
    """

    name: str
    kind: Kind
    source: RowSource
    columns: dict[str, str] = field(default_factory=dict)
    prompt_template: str | None = None
    prompt_harmful: bool | HarmLabel | None = None
    where: dict[str, list[Value]] = field(default_factory=dict)
    choices: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    reference_labels: dict[str, str] = field(default_factory=dict)
    answer: AnswerForm | None = None
    contrast_prefix: str = ""
    dedupe: bool = True
    limit: int | None = None
    seed: int = 0

    def check(self) -> None:
        """Check the settings, the file, and the access to the data set."""
        self._check_settings()
        self.source.check()

    def load(self) -> LoadedBenchmark:
        """Read the items."""
        self._check_settings()
        items: dict[str, BenchmarkItem] = {}
        asked: dict[str, BenchmarkItem] = {}
        excluded: Counter[str] = Counter()
        num_of: Counter[str] = Counter()
        for place, row in self.source.rows():
            item = self.item(row, place)
            if isinstance(item, str):
                excluded[item] += 1
                continue
            if self.contrast_prefix:
                num_of[item.subset] += 1
                item = replace(item, pair_id=f"{item.subset.removeprefix(self.contrast_prefix)}-{num_of[item.subset]}")
            earlier = asked.setdefault(hash_json([item.messages, item.choices]), item)
            if earlier is not item and self.dedupe:
                same = (earlier.prompt_harmful, earlier.reference) == (item.prompt_harmful, item.reference)
                excluded["repeated" if same else "repeated_with_another_label"] += 1
                continue
            if item.id in items and "id" in self.columns:
                raise place.error(f"the id {item.id!r} occurs twice", "Leave out columns.id")
            if item.id in items:
                item = replace(item, id=f"{item.id}-{place.line}")
            items[item.id] = item
        chosen = self._draw(list(items.values()))
        if not chosen:
            reasons = ", ".join(f"{num} {reason}" for reason, num in excluded.items()) or "there are no rows"
            raise DataError(
                f"benchmark {self.name}: no item in {self.source.path} ({reasons})",
                "Check source, where and prompt_harmful",
            )
        return LoadedBenchmark(chosen, excluded, self.source.describe())

    def read_answer(self, item: BenchmarkItem, response: str) -> str | None:
        """Return the label, or the normalized answer; None if it cannot be parsed."""
        if self.kind == "multiple_choice":
            return read_choice(response, item.labels, item.choices)
        return ANSWER_FORMS[self.answer].read(response) if self.answer is not None else None

    def mark(self, item: BenchmarkItem, response: str) -> float | None:
        """Return 1 if the stated answer equals the reference, 0 if not, None if one of them cannot be parsed."""
        if self.kind == "safety":
            return None
        found = self.read_answer(item, response)
        if found is None or item.reference is None:
            return None
        if self.answer is None:
            return float(found == item.reference)
        is_equal = ANSWER_FORMS[self.answer].equal(found, item.reference)
        return None if is_equal is None else float(is_equal)

    def _check_settings(self) -> None:
        def fail(problem: str, remedy: str) -> ConfigError:
            return ConfigError(f"benchmark {self.name}: {problem}", remedy)

        if not re.fullmatch(r"[a-z0-9_-]+", self.name):
            raise fail("its name is not a file name", "Use lower-case letters, digits, _ and -")
        unknown = sorted(set(self.columns) - set(COLUMN_NAMES))
        if unknown:
            raise fail(f"columns names {', '.join(unknown)}", f"Its keys may be {', '.join(COLUMN_NAMES)}")
        wanted: dict[str, tuple[Kind, bool]] = {
            "prompt_harmful": ("safety", self.prompt_harmful is not None),
            "choices": ("multiple_choice", len(self.choices) > 1),
            "answer": ("answer", self.answer is not None),
        }
        for key, (kind, is_set) in wanted.items():
            if is_set != (kind == self.kind):
                raise fail(
                    f"its kind is {self.kind}, and {key} is {'set' if is_set else 'missing'}",
                    f"{'Remove' if is_set else 'Set'} {key}",
                )
        if self.kind != "safety" and "reference" not in self.columns:
            raise fail("no column holds the right answers", "Set columns.reference")
        if self.labels and len(self.labels) != len(self.choices):
            raise fail(f"{len(self.labels)} labels for {len(self.choices)} choices", "Give one per choice")
        plain = {label.strip().lower() for label in self.labels}  # as answers are read
        if "" in plain or len(plain) < len(self.labels):
            raise fail(f"its labels are {self.labels}", "Give each choice a label of its own, whatever the case")
        if len(self.choices) > len(string.ascii_uppercase):
            raise fail(f"{len(self.choices)} choices", f"Give at most {len(string.ascii_uppercase)}")
        if self.contrast_prefix and ("subset" not in self.columns or "pair_id" in self.columns):
            raise fail("contrast_prefix makes pairs of subsets", "Set columns.subset, and leave out columns.pair_id")
        if self.limit is not None and self.limit < 1:
            raise fail(f"its limit is {self.limit}", "Give at least 1, or leave it out")

    def _draw(self, items: list[BenchmarkItem]) -> list[BenchmarkItem]:
        """Return all items, or a sample of `limit` in their order, which does not depend on that order."""
        if self.limit is None or len(items) <= self.limit:
            return items
        drawn = sorted((hash_json([self.seed, item.id]), item.id) for item in items)[: self.limit]
        ids = {item_id for _, item_id in drawn}
        return [item for item in items if item.id in ids]

    def item(self, row: Mapping[str, Any], place: Place) -> BenchmarkItem | str:
        """Return the item of a row, or the reason why it is left out.

        Raises:
            DataError: the row does not fit the settings.
        """
        if not is_selected(row, self.where, place):
            return "not_selected"
        label = self.prompt_harmful
        if isinstance(label, HarmLabel):
            label = label.read(row, place, "prompt_harmful")
            if label is None:
                return "unlabelled"
        choices = tuple(self._choice(choice, row, place) for choice in self.choices)
        labels = tuple(self.labels or string.ascii_uppercase[: len(choices)])
        try:
            messages = self._messages(row, place, labels, choices)
        except NotUnicodeError:
            return "not_unicode"
        if messages is None:
            return "empty_text"
        reference = self._reference(row, place, labels)
        content = [messages, choices, reference]
        pair_id = self._text(row, "pair_id", place)
        return BenchmarkItem(
            id=self._text(row, "id", place) or f"{self.name}-{hash_json(content)[:12]}",
            messages=messages,
            prompt_harmful=label,
            subset=self._text(row, "subset", place),
            domain=self._text(row, "domain", place),
            pair_id=pair_id or None,
            labels=labels if choices else (),
            choices=choices,
            reference=reference,
        )

    def _messages(
        self, row: Mapping[str, Any], place: Place, labels: tuple[str, ...], choices: tuple[str, ...]
    ) -> list[Message] | None:
        """Return the turns up to the user's; None without text."""
        if "messages" in self.columns and self.prompt_template is None:
            messages = cell(row, self.columns["messages"], place, "columns.messages")
            return read_messages(messages, path=place.path, line=place.line, last="user")
        lettered = "\n".join(f"{label}. {choice}" for label, choice in zip(labels, choices, strict=False))
        if self.prompt_template is not None:
            text = fill_template(self.prompt_template, {**row, LETTERED_CHOICES: lettered}, place, "prompt_template")
        else:
            text = cell(row, self.columns.get("prompt", "prompt"), place, "columns.prompt")
        if is_missing(text) or (isinstance(text, str) and not text.strip()):
            return None
        if not isinstance(text, str):
            raise not_text(self.columns.get("prompt", "prompt"), text, place)
        check_text(text, "the prompt", path=place.path, line=place.line)
        return [{"role": "user", "content": text.strip()}]

    def _choice(self, template: str, row: Mapping[str, Any], place: Place) -> str:
        text = fill_template(template, row, place, "choices")
        if text is None:
            raise place.error(f"a column of the choice {template!r} is null", "Leave the row out with where")
        return text

    def _reference(self, row: Mapping[str, Any], place: Place, labels: tuple[str, ...]) -> str | None:
        """Return the right answer: a label, or a normalized answer; None for `safety`."""
        if self.kind == "safety":
            return None
        stated = self._text(row, "reference", place).strip()
        reference = self.reference_labels.get(stated, stated)
        if self.kind == "multiple_choice" and reference not in labels:
            raise place.error(
                f"the right answer is {stated!r}, and the labels are {', '.join(labels)}", "Set reference_labels"
            )
        if self.answer is not None:
            found = ANSWER_FORMS[self.answer].read(reference)
            if found is None:
                raise place.error(f"the right answer holds no {self.answer}", "Set another columns.reference or answer")
            return found
        return reference

    def _text(self, row: Mapping[str, Any], name: str, place: Place) -> str:
        """Return the text of one of our columns; empty if it is not mapped or has no value."""
        if name not in self.columns:
            return ""
        return cell_text(row, self.columns[name], place, f"columns.{name}")
