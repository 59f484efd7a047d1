"""Number of rows to make, and the budget for them."""

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
"""Rows per wave, over all domains: enough to keep a server busy, few enough to see results early."""

BUDGETED_WAVE = 8
"""Rows of each domain per wave when there is a budget, which is checked between waves."""


@dataclass(frozen=True)
class Quota:
    """How many rows to make of each domain, and when to stop. Set one of the first two.

    Args:
        num_per_domain: rows of each domain, before any filter (the paper: 512).
        until_kept: continue in each domain until this many of its rows survive curation's cheap filters; needs a
            budget.
        max_tokens: budget of generated tokens, over all calls on a folder; checked between waves of rows.
        max_seconds: budget of time in seconds, over all calls on a folder.
        max_attempts: attempts per query, each with another seed, until one is usable.
        benign_share: share of rows, in [0, 1], for which the model also writes and answers a harmless counterpart.
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
                "until_kept is set without a budget, and a domain may never reach it",
                "Set max_tokens or max_seconds",
                part=self,
            )

    @property
    def has_budget(self) -> bool:
        """Whether the run may end before its rows are complete."""
        return self.max_tokens is not None or self.max_seconds is not None

    def next_stop(self, num_begun: int, num_kept: int, num_domains: int) -> int:
        """Return the index at which a domain's next wave stops; `num_begun` if it needs no more rows.

        Args:
            num_begun: indices that were begun; all of them are finished.
            num_kept: number of these rows that survive.
            num_domains: number of domains in a wave.
        """
        if self.num_per_domain is not None:
            missing = self.num_per_domain - num_begun
        else:
            missing = max(0, (self.until_kept or 0) - num_kept)
        wave = BUDGETED_WAVE if self.has_budget else max(BUDGETED_WAVE, WAVE_SLOTS // num_domains)
        return num_begun + min(missing, wave)


class SurvivalRule(ABC):
    """Selects the rows that curation's cheap filters would keep; `until_kept` counts these."""

    @abstractmethod
    def survivors(self, rows: Sequence[SafetyRecord]) -> list[SafetyRecord]:
        """Return the surviving rows of one domain.

        Args:
            rows: rows of one domain, in the order of their indices.
        """

    def checked_survivors(self, rows: Sequence[SafetyRecord]) -> list[SafetyRecord]:
        """Call `survivors` and check its result.

        Raises:
            PluginError: it is not a list of some of the rows.
        """
        found: Any = self.survivors(rows)
        known = {row.id for row in rows}
        if not isinstance(found, Sequence) or any(getattr(each, "id", None) not in known for each in found):
            what = described(found) if not isinstance(found, Sequence) else "something that is not one of the rows"
            raise PluginError(self, "survivors", f"returns {what}", "Return a list of the rows that survive")
        return list(found)


class CompleteAndDistinct(SurvivalRule):
    """Keeps complete rows; of rows whose queries differ only in case, space and punctuation, the first.

    Args:
        min_response_words: responses with fewer words do not count as complete.
    """

    def __init__(self, min_response_words: int = 3) -> None:
        if min_response_words < 0:
            raise ConfigError(f"min_response_words is {min_response_words}", "Give at least 0")
        self.min_response_words = min_response_words

    def survivors(self, rows: Sequence[SafetyRecord]) -> list[SafetyRecord]:
        """Return the surviving rows of one domain."""
        kept: dict[str, SafetyRecord] = {}
        for row in rows:
            query, response = row.messages[-2]["content"], row.messages[-1]["content"]
            if row.finish_reason == "stop" and len(response.split()) >= self.min_response_words:
                kept.setdefault(" ".join(re.findall(r"\w+", query.lower())), row)
        return list(kept.values())
