"""How many rows, and what they may cost."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grsap.errors import ConfigError
from grsap.plugins import PluginError, described
from grsap.records import SafetyRecord

WAVE_SLOTS = 2048
"""Rows that are worked on together, over all domains: enough to fill a server, few enough to see results early."""

BUDGETED_WAVE = 8
"""Rows of each domain that are worked on together where a budget may end the run: it is looked at in between."""


@dataclass(frozen=True)
class Quota:
    """How many rows to make of each domain, and when to stop. Set one of the first two.

    Args:
        num_per_domain: rows of each domain, whatever becomes of them later (the paper: 512).
        until_kept: continue in each domain until so many of its rows survive curation's cheap filters; needs a budget.
        max_tokens: budget of generated tokens, over all calls on a folder; no row is begun beyond it.
        max_seconds: budget of time, over all calls on a folder.
        max_attempts: how often a query is asked for again, with another seed, where what came was unusable.
        benign_share: share of rows, in [0, 1], to which the model also writes a harmless counterpart and answers it.
    """

    num_per_domain: int | None = None
    until_kept: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    max_attempts: int = 8
    benign_share: float = 0.0

    def check(self) -> None:
        """Raise ConfigError for values that are out of range or contradict each other."""
        if (self.num_per_domain is None) == (self.until_kept is None):
            which = "neither" if self.num_per_domain is None else "both"
            raise ConfigError(f"quota sets {which} of num_per_domain and until_kept", "Set one of them")
        for name in ("num_per_domain", "until_kept", "max_tokens", "max_seconds", "max_attempts"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name} is {value}", "Give more than 0", part=self)
        if not 0 <= self.benign_share <= 1:
            raise ConfigError(f"benign_share is {self.benign_share}", "Give a share in [0, 1]", part=self)
        if self.until_kept is not None and not self.has_budget:
            raise ConfigError(
                "until_kept is set without a budget, and a domain may never get there",
                "Set max_tokens or max_seconds",
                part=self,
            )

    @property
    def has_budget(self) -> bool:
        """Whether the run may end before its rows are complete."""
        return self.max_tokens is not None or self.max_seconds is not None

    def next_stop(self, num_begun: int, num_kept: int, num_domains: int) -> int:
        """Up to which index a domain's next rows go; `num_begun` if it needs none.

        Args:
            num_begun: indices that were begun, all of them finished.
            num_kept: of these, rows that survive.
            num_domains: that are worked on together.
        """
        if self.num_per_domain is not None:
            missing = self.num_per_domain - num_begun
        else:
            missing = max(0, (self.until_kept or 0) - num_kept)
        wave = BUDGETED_WAVE if self.has_budget else max(BUDGETED_WAVE, WAVE_SLOTS // num_domains)
        return num_begun + min(missing, wave)


class SurvivalRule(ABC):
    """Says which rows curation's cheap filters would keep; `until_kept` counts these."""

    @abstractmethod
    def survivors(self, rows: Sequence[SafetyRecord]) -> list[SafetyRecord]:
        """The rows of one domain that survive, in the order of their indices."""

    def checked_survivors(self, rows: Sequence[SafetyRecord]) -> list[SafetyRecord]:
        """What `survivors` returns.

        Raises:
            PluginError: it is no list of some of the rows.
        """
        found: Any = self.survivors(rows)
        known = {row.id for row in rows}
        if not isinstance(found, Sequence) or any(getattr(each, "id", None) not in known for each in found):
            told = described(found) if not isinstance(found, Sequence) else "something that is none of the rows"
            raise PluginError(self, "survivors", f"returns {told}", "Return a list of the rows that survive")
        return list(found)


class CompleteAndDistinct(SurvivalRule):
    """Keeps complete rows, and the first of those whose queries are the same but for case, space and punctuation.

    Args:
        min_response_words: shorter answers do not count as complete.
    """

    def __init__(self, min_response_words: int = 3) -> None:
        if min_response_words < 0:
            raise ConfigError(f"min_response_words is {min_response_words}", "Give at least 0")
        self.min_response_words = min_response_words

    def survivors(self, rows: Sequence[SafetyRecord]) -> list[SafetyRecord]:
        """The rows of one domain that survive."""
        kept: dict[str, SafetyRecord] = {}
        for row in rows:
            query, response = row.messages[-2]["content"], row.messages[-1]["content"]
            if row.finish_reason == "stop" and len(response.split()) >= self.min_response_words:
                kept.setdefault(" ".join(re.findall(r"\w+", query.lower())), row)
        return list(kept.values())
