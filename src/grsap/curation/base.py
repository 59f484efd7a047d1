"""Base classes of filters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from grsap.curation.decision import Decision
from grsap.plugins import PluginError, described, is_finite, plain_value
from grsap.records import SafetyRecord

if TYPE_CHECKING:
    from grsap.curation.ledger import Rows
    from grsap.curation.work import Work
    from grsap.judging.base import Judge


SERVICES = ("embedder", "judge")
"""Settings of a curation that a filter may need."""


class Filter(ABC):
    """One step of a curation. Implement `decide`, or derive from `RowFilter` if each row can be judged on its own.

    Attributes:
        takes_rejected: reasons of earlier filters. If there are any, the filter receives the rows rejected for them,
            not the kept rows, and may restore them.
    """

    takes_rejected: frozenset[str] = frozenset()

    @property
    def needs(self) -> frozenset[str]:
        """Settings of the curation that the filter requires: `embedder`, `judge`."""
        return frozenset()

    @abstractmethod
    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """Yield one decision per row, in order.

        Rows are in the order of their ids, not of the file, so that no decision depends on the file's order. They are
        read from disk on access.

        Args:
            rows: rows that no earlier filter rejected, or those of `takes_rejected`.
            work: embeddings, verdicts and results stored on disk; notes for the manifest.
        """

    def checked_decisions(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """Call `decide` and check what it yields.

        Raises:
            PluginError: it is not one decision per row, or a decision has an invalid reason, score or label.
        """
        found: Any = self.decide(rows, work)
        if not isinstance(found, Iterable):
            raise PluginError(self, "decide", f"returns {described(found)}", "Yield one Decision per row, in order")
        num = 0
        for decision in found:
            num += 1
            if num > len(rows):
                break
            self._check_decision(decision)
            yield decision
        if num != len(rows):
            yielded = f"more than {len(rows)}" if num > len(rows) else str(num)
            raise PluginError(
                self, "decide", f"yields {yielded} decisions for {len(rows)} rows", "Yield one per row, in order"
            )

    def _check_decision(self, decision: Any) -> None:
        method = "decide_row" if isinstance(self, RowFilter) else "decide"
        if not isinstance(decision, Decision):
            raise PluginError(self, method, f"gives {described(decision)}", "Give keep() or reject(reason)")
        if not isinstance(decision.keep, bool) or decision.keep == bool(decision.reason):
            problem = f"gives keep {decision.keep!r} with reason {decision.reason!r}"
            raise PluginError(self, method, problem, "Give keep(), or reject() with a reason in snake_case")
        if decision.reason is not None and not isinstance(decision.reason, str):
            raise PluginError(self, method, f"gives the reason {decision.reason!r}", "Give a text in snake_case")
        for name, score in decision.scores.items():
            if not is_finite(score):
                shown = repr(score) if isinstance(score, (str, int, float)) else described(score)
                raise PluginError(self, method, f"gives {name} the score {shown}", "Give finite numbers, or none")

    def check(self, where: str) -> None:  # noqa: B027 (many need nothing)
        """Check settings and files, without loading weights.

        Args:
            where: the setting's name, for messages.

        Raises:
            UserError: names the wrong setting.
        """

    def check_ready(self) -> None:  # noqa: B027 (most need nothing)
        """Check that the servers that the filter needs answer, before the work of earlier filters.

        Raises:
            ConfigError: nothing answers at an address.
        """

    def check_judge(self, judge: Judge, where: str) -> None:  # noqa: B027 (most take any)
        """Raise ConfigError if the judge does not give the labels that the filter needs."""

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values, and hashes of files that they name, for the manifest."""
        return {name: plain_value(value) for name, value in sorted(vars(self).items()) if not name.startswith("_")}


class RowFilter(Filter):
    """A filter that judges each row on its own. Implement `decide_row`."""

    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """Yield one decision per row, in order."""
        return (self.decide_row(row) for row in rows)

    @abstractmethod
    def decide_row(self, row: SafetyRecord) -> Decision:
        """Return `keep()` or `reject(reason)`, with scores by name."""
