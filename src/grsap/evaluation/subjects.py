"""Subjects of an evaluation: models, adapters on a base, and other generators."""

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
"""`start`: a baseline; `checkpoint`: of a run; `final`: weights at the end of a run, or an adapter; `model`: others."""

Say = Callable[[str], None]
"""Called with messages on what is left out and why."""


@dataclass(frozen=True)
class Subject:
    """One set of weights that is evaluated.

    Attributes:
        name: unique in an evaluation.
        role: see `Role`.
        generator: backend; shared by all subjects on one base.
        adapter: folder of the adapter to use; None for the generator without one.
        start: name of its baseline; None without one.
        run: name of its run; None for others.
        step: number of optimizer steps; None if unknown.
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
        """Yield one answer per request, in any order."""
        self._take_generator()
        yield from self.generator.checked_stream(requests, sampling)

    @property
    def gives_likelihoods(self) -> bool:
        """Whether it supports log-likelihoods of given texts."""
        return type(self.generator).likelihoods is not Generator.likelihoods

    def likelihoods(self, requests: Sequence[ScoringRequest]) -> Iterator[Likelihood]:
        """Yield one log-likelihood per request, in any order."""
        self._take_generator()
        yield from self.generator.checked_likelihoods(requests)

    @property
    def local_generator(self) -> TransformersGenerator:
        """The generator whose weights are in this process.

        Raises:
            ConfigError: its weights are elsewhere.
        """
        if not isinstance(self.generator, TransformersGenerator):
            raise ConfigError(f"{self.name} does not answer from this process", "Use a run, a model or an adapter")
        return self.generator

    def model(self) -> nn.Module:
        """Return the model in this process, with the adapter's layers.

        Raises:
            ConfigError: its weights are elsewhere.
        """
        generator = self.local_generator
        self._take_generator()
        return inner_model(generator.model())  # type: ignore[arg-type]

    def with_start(self, start: str | None) -> Subject:
        """Return a copy with another baseline."""
        return replace(self, start=start)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """JSON values that determine its answers: weights, adapter, template and number format, but no paths.

        Reads all weight files of a model on this machine.
        """
        self.generator.check_identities()
        found = {**self.generator.content_identity(), "template_hash": self.generator.template.hash}
        if isinstance(self.generator, TransformersGenerator):  # adapters take turns on it
            found["adapter_hash"] = adapter_hash(None if self.adapter is None else adapter_folder(self.adapter))
        return found

    @property
    def hash(self) -> str:
        """Hash of `identity`."""
        return hash_json(self.identity)

    def _take_generator(self) -> None:
        """Activate this subject's adapter on the shared base."""
        if isinstance(self.generator, TransformersGenerator):
            self.generator.use_adapter(self.adapter)


class Engines:
    """Backends on this machine: one per base, loaded once and shared by its adapters.

    Args:
        device: see `TransformersGenerator`.
        max_batch_tokens: see `TransformersGenerator`.
    """

    def __init__(self, device: str = "auto", max_batch_tokens: int | None = None) -> None:
        self.device = device
        self.max_batch_tokens = max_batch_tokens
        self._made: list[TransformersGenerator] = []

    def on_base(self, base: BaseModel) -> TransformersGenerator:
        """Return the backend of a base; loads no weights.

        Raises:
            UserError: the base's settings or files are wrong.
        """
        for made in self._made:
            if made.base == base:
                return made
        self._made.append(TransformersGenerator(base, None, self.device, self.max_batch_tokens))
        return self._made[-1]


class SubjectSource(ABC):
    """A source of subjects. Implement `subjects`."""

    @abstractmethod
    def subjects(self, engines: Engines, say: Say) -> list[Subject]:
        """Return the subjects, each after its baseline; loads no weights.

        Args:
            engines: creates backends for bases.
            say: called with messages on what is left out.

        Raises:
            UserError: a folder is missing or does not fit.
        """

    def checked_subjects(self, engines: Engines, say: Say) -> list[Subject]:
        """Call `subjects` and check its result.

        Raises:
            PluginError: it is not a list of subjects.
        """
        found: Any = self.subjects(engines, say)
        if not isinstance(found, Sequence) or not all(isinstance(each, Subject) for each in found):
            kind = described(found) if not isinstance(found, Sequence) else "something that is not a Subject"
            raise PluginError(self, "subjects", f"returns {kind}", "Return a list of grsap.evaluation.Subject")
        return list(found)


class ModelSubject(SubjectSource):
    """A model, or an adapter with the model as its baseline.

    Args:
        base: the model and its quantization.
        adapter: folder of a PEFT adapter.
        name: of the subject; by default that of the folder or model.
    """

    def __init__(self, base: BaseModel, adapter: str | None = None, name: str | None = None) -> None:
        self.base = base
        self.adapter = adapter
        self.name = name

    def subjects(self, engines: Engines, say: Say) -> list[Subject]:
        """Return the model, and the adapter if there is one."""
        generator = engines.on_base(self.base)
        if self.adapter is None:
            return [Subject(self.name or self.base.name, "model", generator)]
        folder = generator.check_adapter(self.adapter)
        name = self.name or folder.name
        start = Subject(f"{name}/start", "start", generator)
        return [start, Subject(name, "final", generator, self.adapter, start.name)]


class GeneratorSubject(SubjectSource):
    """Any generator: a model on a server or in vLLM, or a user-defined class.

    Args:
        generator: backend. Its `content_identity` must distinguish models: set the `revision` of a model on a server.
        name: of the subject; by default the model's name.

    Raises:
        ConfigError: neither is set.
    """

    def __init__(self, generator: Generator, name: str | None = None) -> None:
        self.generator = generator
        self.name = name or generator.model_name
        if not self.name:
            raise ConfigError(f"a subject of {type(generator).__name__} has no name", "Set its name")

    def subjects(self, engines: Engines, say: Say) -> list[Subject]:
        """Return the subject."""
        adapter = self.generator.adapter if isinstance(self.generator, TransformersGenerator) else None
        return [Subject(self.name, "model", self.generator, None if adapter is None else str(adapter))]
