"""What a stage did in this call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Work:
    """Counts of one stage and one subject or judge.

    Attributes:
        seconds: spent.
        num_done: answers, likelihoods or verdicts made.
        num_tokens: that a subject wrote.
    """

    seconds: float = 0.0
    num_done: int = 0
    num_tokens: int = 0

    def plus(self, other: Work) -> Work:
        """Both together."""
        seconds = round(self.seconds + other.seconds, 3)
        return Work(seconds, self.num_done + other.num_done, self.num_tokens + other.num_tokens)
