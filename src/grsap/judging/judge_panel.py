"""A judge that combines several judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from grsap.errors import ConfigError
from grsap.files import hash_json
from grsap.judging.base import LABELS, Exchange, Judge, Verdict

if TYPE_CHECKING:
    import torch


class JudgePanel(Judge):
    """Combines judges; each label is decided by the judges that give it.

    With `majority` a label is the verdict of more than half of them; with `any` it is True if one says True, and False
    if all say False. It is None for a tie, or if missing verdicts could decide. Each judge's verdict is stored.

    Args:
        judges: at least one; names must be distinct.
        rule: `majority` or `any`.

    Raises:
        ConfigError: no judge, or two of the same name.
    """

    def __init__(self, judges: list[Judge], rule: Literal["majority", "any"] = "majority") -> None:
        names = [judge.name for judge in judges]
        if not judges or len(set(names)) < len(names):
            raise ConfigError(f"judges are {', '.join(names) or 'none'}", "Give at least one, and no judge twice")
        self.judges = judges
        self.rule = rule
        self.name = f"{rule} of {', '.join(names)}"
        self.is_proxy = all(judge.is_proxy for judge in judges)
        self.labels = frozenset().union(*(judge.labels for judge in judges))

    def prepare(self) -> None:
        """Prepare all judges."""
        for judge in self.judges:
            judge.prepare()
        judges = hash_json([[judge.name, judge.revision] for judge in self.judges])
        self.revision = "+".join(part for part in (judges, self.own_revision()) if part)

    def identity(self) -> dict[str, Any]:
        """Return also the rule and its judges' identities."""
        return {**super().identity(), "rule": self.rule, "judges": [judge.identity() for judge in self.judges]}

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Return one verdict per exchange, in order, with those of the judges in `by_judge`."""
        self.prepare()
        columns = [judge.checked_verdicts(exchanges) for judge in self.judges]
        return [self._decide(verdicts) for verdicts in zip(*columns, strict=True)]

    def _decide(self, verdicts: Sequence[Verdict]) -> Verdict:
        labels = {}
        for label in LABELS:
            said = [v.label(label) for v, judge in zip(verdicts, self.judges, strict=True) if label in judge.labels]
            labels[label] = self._outcome(said)
        kept = Verdict(
            raw="\n\n".join(f"{judge.name}:\n{v.raw}" for v, judge in zip(verdicts, self.judges, strict=True) if v.raw),
            reason=next((verdict.reason for verdict in verdicts if verdict.reason), None),
            truncated=any(verdict.truncated for verdict in verdicts),
            by_judge={judge.name: verdict for verdict, judge in zip(verdicts, self.judges, strict=True)},
        )
        return kept.with_labels(labels)

    def _outcome(self, said: Sequence[bool | None]) -> bool | None:
        majority = len(said) // 2 + 1
        enough_true, enough_false = (1, len(said)) if self.rule == "any" else (majority, majority)
        if said.count(True) >= enough_true:
            return True
        return False if said and said.count(False) >= enough_false else None

    def check_ready(self) -> None:
        """Check the servers of all judges."""
        for judge in self.judges:
            judge.check_ready()

    def release(self, device: torch.device) -> None:
        """Release all judges."""
        for judge in self.judges:
            judge.release(device)

    def close(self) -> None:
        """Close all judges."""
        for judge in self.judges:
            judge.close()
