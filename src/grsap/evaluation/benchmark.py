"""The interface of benchmarks: prompts to answer, with references or labels."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from grsap.files import hash_json
from grsap.measurement.outcomes import RatedPrompt
from grsap.plugins import PluginError, described, is_finite

Kind = Literal["safety", "multiple_choice", "answer"]
"""`safety`: harm and refusals are judged. The others are scored: one of given choices, or a free answer."""


@dataclass(frozen=True)
class BenchmarkItem(RatedPrompt):
    """One prompt of a benchmark. Its id depends on its content alone.

    Attributes:
        labels: of `multiple_choice`, what an answer may be: `("A", "B")`, or words such as `("negative", "positive")`.
        choices: of `multiple_choice`, the texts behind the labels, in the same order.
        reference: the right answer: one of `labels`, or the text that holds it; None for `safety`.
    """

    labels: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    reference: str | None = None


@dataclass(frozen=True)
class LoadedBenchmark:
    """The items of a benchmark, and where they come from.

    Attributes:
        items: in the order of the source.
        num_excluded: rows left out, by reason.
        source: JSON values that identify the source: path, commit or hash.
    """

    items: list[BenchmarkItem]
    num_excluded: Counter[str]
    source: dict[str, Any]

    @property
    def hash(self) -> str:
        """Hash of all items in order; equal for equal prompts and references."""
        return hash_json([asdict(item) for item in self.items])

    def describe(self) -> dict[str, Any]:
        """Return source, hash and counts for manifests; no text."""
        labels = Counter(item.prompt_harmful for item in self.items)
        return {
            "source": self.source,
            "hash": self.hash,
            "num_items": len(self.items),
            "num_harmful": labels[True],
            "num_benign": labels[False],
            "num_excluded": dict(sorted(self.num_excluded.items())),
        }


class Benchmark(ABC):
    """Prompts with references or labels. Implement `load`, `check` and, if answers can be scored, `mark`.

    Attributes:
        name: in files and tables: lower-case letters, digits, `_` and `-`.
        kind: see `Kind`.
        counts_all_rows: whether `harmfulness_rate_all_rows` is computed, over items without a label too.
    """

    name: str
    kind: Kind
    counts_all_rows: bool = False

    @abstractmethod
    def check(self) -> None:
        """Check settings and access; reads no rows.

        Raises:
            UserError: names the setting or the page where a licence is accepted.
        """

    def check_members(self) -> None:
        """Check the attributes and methods that the kind of benchmark requires.

        Raises:
            PluginError: `name` or `kind` is missing or wrong, or nothing scores the answers.
        """
        name, kind = getattr(self, "name", None), getattr(self, "kind", None)
        if not isinstance(name, str) or not name:
            raise PluginError(self, "__init__", f"sets the name {name!r}", "Set self.name to a text")
        if kind not in get_args(Kind):
            raise PluginError(self, "kind", f"is {kind!r}", f"Give one of {', '.join(get_args(Kind))}")
        if kind != "safety" and type(self).mark is Benchmark.mark:
            raise PluginError(
                self, "kind", f"is {kind!r}, but nothing scores answers", "Write mark(self, item, response)"
            )

    @abstractmethod
    def load(self) -> LoadedBenchmark:
        """Read the items.

        Raises:
            DataError: the source cannot be read, a row is wrong, or no item is left.
        """

    def checked_load(self) -> LoadedBenchmark:
        """Call `load` and check its result.

        Raises:
            PluginError: it is not a LoadedBenchmark, has no item, has an item of another type or with wrong turns,
                repeats an id, or has a source that is not JSON.
        """
        found: Any = self.load()
        if not isinstance(found, LoadedBenchmark):
            raise PluginError(self, "load", f"returns {described(found)}", "Return a LoadedBenchmark")
        wrong = next((item for item in found.items if not isinstance(item, BenchmarkItem)), None)
        if wrong is not None or not found.items:
            problem = "no item" if not found.items else f"{described(wrong)} as an item"
            raise PluginError(self, "load", f"returns {problem}", "Give a list of BenchmarkItem")
        twice = next((name for name, num in Counter(item.id for item in found.items).items() if num > 1), None)
        if twice is not None:
            raise PluginError(self, "load", f"returns two items with the id {twice!r}", "Give each an id of its own")
        for item in found.items:
            turns: Any = item.messages
            if isinstance(turns, str) or any(not isinstance(turn, Mapping) or "content" not in turn for turn in turns):
                problem = f"returns item {item.id!r} whose messages are not turns"
                raise PluginError(self, "load", problem, 'Give [{"role": "user", "content": "..."}]')
        try:
            json.dumps(found.source)
        except TypeError as error:
            problem = f"returns a source that is not JSON ({error})"
            raise PluginError(self, "load", problem, "Give a dict of JSON values") from error
        return found

    def checked_mark(self, item: BenchmarkItem, response: str) -> float | None:
        """Call `mark` and check its result.

        Raises:
            PluginError: it is neither None nor a number in [0, 1].
        """
        found: Any = self.mark(item, response)
        if found is None or ((isinstance(found, bool) or is_finite(found)) and 0 <= found <= 1):
            return None if found is None else float(found)
        shown = repr(found) if isinstance(found, (str, int, float)) else described(found)
        raise PluginError(self, "mark", f"returns {shown}", "Return a number in [0, 1], or None for an unparsed answer")

    def read_answer(self, item: BenchmarkItem, response: str) -> str | None:
        """Return the answer that a response states; None if it cannot be parsed (`unparsed`)."""
        return None

    def mark(self, item: BenchmarkItem, response: str) -> float | None:
        """Return the score of a response: 1 if it is right, 0 if wrong, None if it cannot be parsed (`unparsed`).

        User-defined tasks may give scores in between. Benchmarks of kind `safety` are judged, not scored.
        """
        return None
