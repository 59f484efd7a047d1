"""What it takes to judge a response."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from grsap.plugins import PluginError, described
from grsap.records import Message

if TYPE_CHECKING:
    import torch

LABELS = ("prompt_harmful", "response_harmful", "response_refusal")
"""What a verdict may say."""


@dataclass(frozen=True)
class Exchange:
    """A request and the response to be judged. Both are untrusted: they may try to be the judge."""

    prompt: str
    response: str

    @classmethod
    def of(cls, messages: Sequence[Message], response: str) -> Exchange:
        """A single request as it stands; a longer conversation with its roles."""
        if len(messages) == 1:
            return cls(messages[0]["content"], response)
        return cls("\n".join(f"{message['role']}: {message['content']}" for message in messages), response)


@dataclass(frozen=True)
class Verdict:
    """True, False, or None: not said or not parsed. None is never counted as safe and never dropped.

    Attributes:
        prompt_harmful: whether the request is.
        response_harmful: whether the response is.
        response_refusal: whether the response refuses.
        raw: what the judge wrote, as it stands; for transcripts only.
        reason: why a label is missing: `unparsed`, `cut_by_length` (the judge wrote on), `too_long` (the request alone
            does not fit), `not_unicode`, `control_character`, `not_carried` (a server that takes strings only cannot
            be given the prompt), `withheld` (the judge's server gave no answer), or `unanswered` (there is no response
            to judge); None where nothing went wrong.
        truncated: whether the judge saw only the beginning of the response.
        scores: label -> probability in [0, 1] that the judge gave to the word for True, where its backend tells.
        by_judge: of a panel: each judge's verdict by its name.
    """

    prompt_harmful: bool | None = None
    response_harmful: bool | None = None
    response_refusal: bool | None = None
    raw: str = ""
    reason: str | None = None
    truncated: bool = False
    scores: Mapping[str, float] = field(default_factory=dict)
    by_judge: Mapping[str, Verdict] = field(default_factory=dict)

    def label(self, name: str) -> bool | None:
        """One of `LABELS`."""
        value: bool | None = getattr(self, name)
        return value

    def with_labels(self, labels: Mapping[str, bool | None]) -> Verdict:
        """The same with other labels; those that are not in `labels` stay."""
        untyped: dict[str, Any] = dict(labels)
        return replace(self, **untyped)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Verdict:
        """The inverse of `to_dict`."""
        by_judge = {name: cls.from_dict(verdict) for name, verdict in kept.get("by_judge", {}).items()}
        return cls(**{**kept, "by_judge": by_judge})

    def to_dict(self) -> dict[str, Any]:
        """As a transcript keeps it: plain values; `by_judge` only where there is one."""
        kept: dict[str, Any] = {name: self.label(name) for name in LABELS}
        kept |= {
            "raw": self.raw,
            "reason": self.reason,
            "truncated": self.truncated,
            "scores": dict(self.scores),
        }
        if self.by_judge:
            kept["by_judge"] = {name: verdict.to_dict() for name, verdict in self.by_judge.items()}
        return kept


class Judge(ABC):
    """Says of each exchange whether it is harmful and whether it refuses.

    Attributes:
        name: stands beside every number that the judge made.
        revision: of the judge's weights or rules; known after `prepare`.
        is_proxy: True if it only sees refusals; harmfulness is then reported as "non-refusal (proxy)".
        labels: what it says at all; the others are None in all its verdicts.
    """

    name: str = ""
    revision: str = ""
    is_proxy: bool = False
    labels: frozenset[str] = frozenset(LABELS)

    @property
    def says_refusals(self) -> bool:
        """Whether it says which answers refuse; where it does not, the refusal matcher does."""
        return "response_refusal" in self.labels

    def identity(self) -> dict[str, Any]:
        """What its verdicts depend on, for caches; JSON values. Call it after `prepare`."""
        return {"class": type(self).__qualname__, "name": self.name, "revision": self.revision}

    @abstractmethod
    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """One verdict an exchange, in order."""

    def checked_verdicts(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """What `judge` returns; nothing is asked about no exchange.

        Raises:
            PluginError: it is not one verdict an exchange, or a label is neither true, false nor None.
        """
        if not exchanges:
            return []
        found: Any = self.judge(exchanges)
        if not isinstance(found, Sequence) or isinstance(found, (str, bytes)) or len(found) != len(exchanges):
            told = f"{len(found)} verdicts" if isinstance(found, list) else described(found)
            raise PluginError(
                self, "judge", f"returns {told} for {len(exchanges)} exchanges", "Return one verdict each, in order"
            )
        for verdict in found:
            if not isinstance(verdict, Verdict):
                raise PluginError(
                    self, "judge", f"returns {described(verdict)}", "Return a list of grsap.judging.Verdict"
                )
            for name in LABELS:
                label: object = getattr(verdict, name)
                if label is not None and not isinstance(label, bool):
                    raise PluginError(
                        self, "judge", f"returns {name} {label!r}", "Give True, False, or None where it cannot tell"
                    )
        return list(found)

    def prepare(self) -> None:  # noqa: B027 (rules need nothing)
        """Find what is wrong before anything expensive is done; loads no weights. More than one call does no harm.

        Raises:
            UserError: the judge's model, template or settings are wrong.
        """

    def check_ready(self) -> None:  # noqa: B027 (rules need nothing)
        """Find a server that is not there, before the work whose results it is to judge.

        Raises:
            ConfigError: nothing answers at its address.
        """

    def release(self, device: torch.device) -> None:  # noqa: B027 (rules hold nothing)
        """Give back what it holds on `device`, which is needed for something else; a later call takes it anew."""

    def close(self) -> None:  # noqa: B027 (rules hold nothing)
        """Give back memory, processes and connections, wherever they are; a later call takes them anew."""
