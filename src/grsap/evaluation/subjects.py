"""Who is evaluated: models, adapters on a base, and whatever else answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from torch import nn

from grsap.errors import ConfigError
from grsap.files import hash_json
from grsap.generation import (
    Generation,
    GenerationRequest,
    Generator,
    Likelihood,
    SamplingSettings,
    ScoringRequest,
    TransformersGenerator,
)
from grsap.models import BaseModel
from grsap.models.adapters import adapter_folder, adapter_hash
from grsap.models.lora import inner_model
from grsap.plugins import PluginError, described

Role = Literal["start", "checkpoint", "final", "model"]
"""`start`: what others are compared with; `checkpoint`: a run on its way; `final`: its end, or an adapter."""

Say = Callable[[str], None]
"""Called with what is left out, and why."""


@dataclass(frozen=True)
class Subject:
    """One set of weights that answers.

    Attributes:
        name: unique in an evaluation.
        role: see `Role`.
        generator: answers; shared by all subjects on one base.
        adapter: folder of the adapter to answer with; None for the generator as it is.
        start: name of the subject that it is compared with.
        run: name of its run, if it is of one.
        step: optimizer steps that it has seen, where that is known.
        replay_path: the replay set that it was trained with.
    """

    name: str
    role: Role
    generator: Generator
    adapter: str | None = None
    start: str | None = None
    run: str | None = None
    step: int | None = None
    replay_path: str | None = None

    def stream(self, requests: Sequence[GenerationRequest], sampling: SamplingSettings) -> Iterator[Generation]:
        """One answer a request, in any order."""
        self._take_generator()
        yield from self.generator.checked_stream(requests, sampling)

    @property
    def gives_likelihoods(self) -> bool:
        """Whether it gives log-probabilities of given texts."""
        return type(self.generator).likelihoods is not Generator.likelihoods

    def likelihoods(self, requests: Sequence[ScoringRequest]) -> Iterator[Likelihood]:
        """One a request, in any order."""
        self._take_generator()
        yield from self.generator.checked_likelihoods(requests)

    @property
    def local_generator(self) -> TransformersGenerator:
        """What answers, where its weights are in this process.

        Raises:
            ConfigError: it answers from elsewhere.
        """
        if not isinstance(self.generator, TransformersGenerator):
            raise ConfigError(f"{self.name} does not answer from this process", "Use a run, a model or an adapter")
        return self.generator

    def model(self) -> nn.Module:
        """The weights in this process, with the adapter's layers in them.

        Raises:
            ConfigError: it answers from elsewhere.
        """
        generator = self.local_generator
        self._take_generator()
        return inner_model(generator.model())  # type: ignore[arg-type]

    def with_start(self, start: str | None) -> Subject:
        """The same, compared with another subject."""
        return replace(self, start=start)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What its answers depend on: weights, adapter, template and number format, and not where files lie.

        Reads all weight files of a model on this machine.
        """
        found = {**self.generator.content_identity(), "template_hash": self.generator.template.hash}
        if isinstance(self.generator, TransformersGenerator):  # adapters take turns on it
            found["adapter_hash"] = adapter_hash(None if self.adapter is None else adapter_folder(self.adapter))
        return found

    @property
    def hash(self) -> str:
        """Of `identity`."""
        return hash_json(self.identity)

    def _take_generator(self) -> None:
        """Put this subject's adapter on the base that it shares."""
        if isinstance(self.generator, TransformersGenerator):
            self.generator.use_adapter(self.adapter)


class Engines:
    """Backends on this machine: one a base, whose weights are loaded once and which adapters take turns on.

    Args:
        device: as `TransformersGenerator` has it.
        max_batch_tokens: the same.
    """

    def __init__(self, device: str = "auto", max_batch_tokens: int | None = None) -> None:
        self.device = device
        self.max_batch_tokens = max_batch_tokens
        self._made: list[TransformersGenerator] = []

    def on_base(self, base: BaseModel) -> TransformersGenerator:
        """The backend of this base.

        Raises:
            UserError: the base's settings or files are wrong; loads no weights.
        """
        for made in self._made:
            if made.base == base:
                return made
        self._made.append(TransformersGenerator(base, None, self.device, self.max_batch_tokens))
        return self._made[-1]


class SubjectSource(ABC):
    """Where subjects come from. One method to write."""

    @abstractmethod
    def subjects(self, engines: Engines, say: Say) -> list[Subject]:
        """The subjects, a start before those that are compared with it. Loads no weights.

        Args:
            engines: makes backends for bases.
            say: called with what is left out.

        Raises:
            UserError: a folder is missing or does not fit.
        """

    def checked_subjects(self, engines: Engines, say: Say) -> list[Subject]:
        """What `subjects` returns.

        Raises:
            PluginError: it is no list of subjects.
        """
        found: Any = self.subjects(engines, say)
        if not isinstance(found, Sequence) or not all(isinstance(each, Subject) for each in found):
            told = described(found) if not isinstance(found, Sequence) else "something that is no Subject"
            raise PluginError(self, "subjects", f"returns {told}", "Return a list of grsap.evaluation.Subject")
        return list(found)


class ModelSubject(SubjectSource):
    """A model, or an adapter on it; the adapter is compared with the model alone.

    Args:
        base: the model, quantized as set.
        adapter: folder of a PEFT adapter.
        name: of the subject; by default the folder's or the model's.
    """

    def __init__(self, base: BaseModel, adapter: str | None = None, name: str | None = None) -> None:
        self.base = base
        self.adapter = adapter
        self.name = name

    def subjects(self, engines: Engines, say: Say) -> list[Subject]:
        """The model; or model and adapter."""
        generator = engines.on_base(self.base)
        if self.adapter is None:
            return [Subject(self.name or self.base.name, "model", generator)]
        folder = generator.check_adapter(self.adapter)
        name = self.name or folder.name
        start = Subject(f"{name}/start", "start", generator)
        return [start, Subject(name, "final", generator, self.adapter, start.name)]


class GeneratorSubject(SubjectSource):
    """Whatever answers: a model on a server or in vLLM, or a class of one's own.

    Args:
        generator: answers. What its `content_identity` leaves out does not tell two models apart: give a model on a
            server its `revision`.
        name: of the subject; by default the model's.

    Raises:
        ConfigError: neither has a name.
    """

    def __init__(self, generator: Generator, name: str | None = None) -> None:
        self.generator = generator
        self.name = name or generator.model_name
        if not self.name:
            raise ConfigError(f"a subject of {type(generator).__name__} has no name", "Set its name")

    def subjects(self, engines: Engines, say: Say) -> list[Subject]:
        """The one subject."""
        adapter = self.generator.adapter if isinstance(self.generator, TransformersGenerator) else None
        return [Subject(self.name, "model", self.generator, None if adapter is None else str(adapter))]
