"""The interface of judges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from grsap.errors import ConfigError
from grsap.files import hash_json
from grsap.plugins import PluginError, described, plain_value, source_hash, source_place
from grsap.records import Message

if TYPE_CHECKING:
    import torch

LABELS = ("prompt_harmful", "response_harmful", "response_refusal")
"""The labels of a verdict."""


@dataclass(frozen=True)
class Exchange:
    """A request and its response, both untrusted: they may contain instructions to the judge."""

    prompt: str
    response: str

    @classmethod
    def of(cls, messages: Sequence[Message], response: str) -> Exchange:
        """Return the exchange of a single request unchanged, and of a longer conversation with its roles."""
        if len(messages) == 1:
            return cls(messages[0]["content"], response)
        return cls("\n".join(f"{message['role']}: {message['content']}" for message in messages), response)


@dataclass(frozen=True)
class Verdict:
    """Labels True, False, or None: missing or unparsed. None is never counted as safe and never dropped.

    Attributes:
        prompt_harmful: whether the request is harmful.
        response_harmful: whether the response is harmful.
        response_refusal: whether the response refuses.
        raw: the judge's unchanged answer; for transcripts only.
        reason: why a label is missing: `unparsed`, `cut_by_length` (the judge's answer was too long), `too_long` (the
            request does not fit), `not_unicode`, `control_character`, `not_carried` (a string cannot encode the prompt
            for a server that takes strings only), `withheld` (the judge's server gave no answer), or `unanswered` (no
            response to judge); None without an error.
        truncated: whether the judge saw only the beginning of the response.
        scores: label -> probability in [0, 1] of the word for True, where the backend returns log-probabilities.
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
        """Return the value of one of `LABELS`."""
        value: bool | None = getattr(self, name)
        return value

    def with_labels(self, labels: Mapping[str, bool | None]) -> Verdict:
        """Return a copy with these labels; others stay."""
        untyped: dict[str, Any] = dict(labels)
        return replace(self, **untyped)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Verdict:
        """Restore a verdict from `to_dict`."""
        by_judge = {name: cls.from_dict(verdict) for name, verdict in kept.get("by_judge", {}).items()}
        return cls(**{**kept, "by_judge": by_judge})

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values for transcripts; `by_judge` only if it is not empty."""
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
    """Labels exchanges as harmful or refused. Implement `judge`.

    Attributes:
        name: shown beside every number from the judge; by default the name of the class.
        revision: of the judge's weights or rules; known after `prepare`. Stored verdicts are reused for the same name
            and revision. By default a hash of the class's source file and of the object's attributes. A subclass of
            one of grsap's judges adds such a hash to its revision, or states its own as a class attribute.
        is_proxy: True if it detects refusals only; its verdicts are then on compliance, not on harm.
        labels: the labels it gives; the others are always None.
    """

    name: str = ""
    is_proxy: bool = False
    labels: frozenset[str] = frozenset(LABELS)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.name or cls.__name__
        inherited: object = cls.revision
        if "revision" not in vars(cls) and isinstance(inherited, str):
            # The inherited text is of the base class's rules only: compute the default instead.
            cls.revision = vars(Judge)["revision"]  # type: ignore[method-assign]
        labels: object = cls.labels
        if isinstance(labels, str) or not isinstance(labels, Collection) or not set(labels) <= set(LABELS):
            raise ConfigError(
                f"{cls.__qualname__}.labels is {labels!r} ({source_place(cls)})",
                f"Give a frozenset of {', '.join(LABELS)}",
            )

    @property
    def revision(self) -> str:
        """Revision that was set, or the default."""
        if "_revision" not in vars(self):  # once: attributes may count or cache later
            self._revision = self.own_revision() or hash_json([source_hash(type(self)), plain_value(vars(self))])
        return self._revision

    @revision.setter
    def revision(self, value: str) -> None:
        self._revision = value

    def own_revision(self) -> str:
        """Return what the classes outside grsap add to the revision of a judge of grsap; empty if there are none.

        It is the revision that the class states. Otherwise it is a hash of the source files of these classes, the
        revision that they inherit, and the object's attributes.
        """
        if "_own_revision" not in vars(self):  # once: attributes may count or cache later
            sources: list[str] = []
            stated = ""
            for kind in takewhile(lambda kind: kind is not Judge, type(self).__mro__):
                if isinstance(vars(kind).get("revision"), str):
                    stated = vars(kind)["revision"]
                    break
                if kind.__module__.partition(".")[0] != "grsap":
                    sources.append(source_hash(kind))
            parts = [*dict.fromkeys(sources), *([stated] if stated else [])]
            self._own_revision = hash_json([*parts, plain_value(vars(self))]) if sources else stated
        return self._own_revision

    @property
    def says_refusals(self) -> bool:
        """Whether it labels refusals; otherwise the refusal matcher does."""
        return "response_refusal" in self.labels

    def identity(self) -> dict[str, Any]:
        """Return JSON values that determine its verdicts, for caches. Call `prepare` first."""
        return {"class": type(self).__qualname__, "name": self.name, "revision": self.revision}

    @abstractmethod
    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Return one verdict per exchange, in order."""

    def checked_verdicts(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Call `judge` and check its result; return an empty list without exchanges.

        Raises:
            PluginError: it is not one verdict per exchange, or a label that is neither True, False nor None.
        """
        if not exchanges:
            return []
        found: Any = self.judge(exchanges)
        if not isinstance(found, Sequence) or isinstance(found, (str, bytes)) or len(found) != len(exchanges):
            what = f"{len(found)} verdicts" if isinstance(found, list) else described(found)
            raise PluginError(
                self, "judge", f"returns {what} for {len(exchanges)} exchanges", "Return one verdict each, in order"
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
                        self, "judge", f"returns {name} {label!r}", "Give True, False, or None if unknown"
                    )
        return list(found)

    def prepare(self) -> None:  # noqa: B027 (rules need nothing)
        """Check model, template and settings before expensive work; loads no weights. Idempotent.

        Raises:
            UserError: the judge's model, template or settings are wrong.
        """

    def check_ready(self) -> None:  # noqa: B027 (rules need nothing)
        """Check that the server answers, before the work that it will judge.

        Raises:
            ConfigError: it does not.
        """

    def release(self, device: torch.device) -> None:  # noqa: B027 (rules hold nothing)
        """Free memory on `device`; reloads on next use."""

    def close(self) -> None:  # noqa: B027 (rules hold nothing)
        """Free memory, processes and connections; reopens on next use."""
