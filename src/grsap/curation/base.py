"""Base classes of filters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from grsap.curation.decision import Decision
from grsap.plugins import PluginError, described, is_finite
from grsap.records import SafetyRecord

if TYPE_CHECKING:
    from grsap.curation.ledger import Rows
    from grsap.curation.work import Work
    from grsap.judging.base import Judge


class Filter(ABC):
    """One step of a curation. Write `decide`, or derive from `RowFilter` where a row can be judged by itself.

    Attributes:
        takes_rejected: reasons of earlier filters whose rows this one is given instead of those that stay; it may bring
            them back.
    """

    takes_rejected: ClassVar[frozenset[str]] = frozenset()

    @property
    def needs(self) -> frozenset[str]:
        """Settings of the curation that it cannot do without: `embedder`, `judge`."""
        return frozenset()

    @abstractmethod
    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """One decision a row, in order.

        Rows come in the order of their ids, not of the file, so that no decision depends on the file's order. They are
        read from disk when they are looked at.

        Args:
            rows: those not yet rejected.
            work: embeddings, verdicts and results that are kept on disk; notes for the manifest.
        """

    def checked_decisions(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """What `decide` yields.

        Raises:
            PluginError: it is not one decision a row, or one has other reasons, scores or labels than it may have.
        """
        found: Any = self.decide(rows, work)
        if not isinstance(found, Iterable):
            raise PluginError(self, "decide", f"returns {described(found)}", "Yield one Decision a row, in order")
        num = 0
        for decision in found:
            num += 1
            if num > len(rows):
                break
            self._check_decision(decision)
            yield decision
        if num != len(rows):
            told = f"more than {len(rows)}" if num > len(rows) else str(num)
            raise PluginError(
                self, "decide", f"yields {told} decisions for {len(rows)} rows", "Yield one a row, in order"
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
        """Find what is wrong with settings and files; loads no weights.

        Args:
            where: the setting's name, for messages.

        Raises:
            UserError: names the setting.
        """

    def check_ready(self) -> None:  # noqa: B027 (most need nothing)
        """Find a server that is not there, before the work of earlier filters.

        Raises:
            ConfigError: nothing answers at its address.
        """

    def check_judge(self, judge: Judge, where: str) -> None:  # noqa: B027 (most take any)
        """Raise ConfigError if the judge does not say what the filter needs."""

    def settings(self) -> dict[str, Any]:
        """For the manifest: the constructor's arguments, as JSON values, and hashes of the files that they name."""
        return {name: _as_json(value) for name, value in sorted(vars(self).items()) if not name.startswith("_")}


class RowFilter(Filter):
    """A filter that judges each row by itself. Write `decide_row`."""

    def decide(self, rows: Rows, work: Work) -> Iterator[Decision]:
        """One decision a row, in order."""
        return (self.decide_row(row) for row in rows)

    @abstractmethod
    def decide_row(self, row: SafetyRecord) -> Decision:
        """`keep()` or `reject(reason)`, with scores by name."""


def _as_json(value: Any) -> Any:
    for name in ("content_identity", "identity"):
        if hasattr(value, name):
            return getattr(value, name)()
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _as_json(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_as_json(each) for each in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
