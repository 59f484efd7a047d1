"""Models in a folder or on the Hub, read by transformers, with errors that name a remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils.hub import cached_file, extract_commit_hash

from grsap.errors import ModelError, OutOfMemory, first_line, is_out_of_memory
from grsap.models.loading import check_report, rehearse
from grsap.models.shape import empty_base
from grsap.models.weight_files import MODEL_WEIGHTS, WeightFiles, hash_files, settings_files


@dataclass(frozen=True)
class Pretrained:
    """A stored model.

    Attributes:
        source: a folder or a Hub id.
        revision: revision of a Hub id.
        trust_remote_code: run code that comes with the model.
        part: object whose argument `path` is the source, for error messages.
    """

    source: str
    revision: str | None = None
    trust_remote_code: bool = False
    part: object | None = field(default=None, compare=False, repr=False)

    def config(self) -> Any:
        """Load the configuration.

        Raises:
            ModelError: it cannot be found or read.
        """
        return self._read(AutoConfig, "config.json")

    def tokenizer(self) -> Any:
        """Load the tokenizer.

        Raises:
            ModelError: it cannot be found or read.
        """
        return self._read(AutoTokenizer, "tokenizer")

    def empty(self) -> PreTrainedModel:
        """Return the model on the meta device, without weights.

        Raises:
            ModelError: its config describes no model.
        """
        return empty_base(self.config(), self.source, trust_remote_code=self.trust_remote_code)

    def check(self) -> frozenset[str]:
        """Check by file headers that weights and config match, if the files are on this machine.

        Returns:
            Names of the tensors that the model does not use, see `rehearse`.

        Raises:
            ModelError: a file is damaged or missing, or a tensor is missing, unexpected or of another shape.
        """
        folder = self.folder
        if folder is None:
            return frozenset()
        return rehearse(self.empty(), WeightFiles.of_model(folder), self.config())

    def load(self, **kwargs: Any) -> PreTrainedModel:
        """Load the model with its weights.

        Args:
            kwargs: arguments of transformers' `from_pretrained`.

        Raises:
            ModelError: as `check`, or a tensor is not finite.
        """
        is_here = self.folder is not None
        left_out = self._check_values() if is_here else frozenset()
        model: PreTrainedModel
        model, report = self._from_pretrained(AutoModelForCausalLM, output_loading_info=True, **kwargs)
        if not is_here:  # it has just been downloaded
            left_out = self._check_values()
        check_report(report, self.folder or self.source, left_out)
        return model

    def _check_values(self) -> frozenset[str]:
        left_out = self.check()
        if self.folder is not None:
            WeightFiles.of_model(self.folder).check_finite()
        return left_out

    @property
    def folder(self) -> Path | None:
        """Return the folder of its files; None for a Hub id whose weights are not on this machine."""
        if Path(self.source).is_dir():
            return Path(self.source)
        found = _snapshot(self.source, self.revision)
        return found if found is not None and any((found / name).is_file() for name in MODEL_WEIGHTS) else None

    def content_hash(self) -> str:
        """Return a hash of all files of a folder that are loaded, or the commit of a Hub id; empty if unknown."""
        if Path(self.source).is_dir():
            return WeightFiles.of_model(Path(self.source)).hash
        return self._commit()

    def settings_hash(self) -> str:
        """Return `content_hash` without the weights: of configuration, tokenizer and templates."""
        folder = Path(self.source)
        return hash_files(folder, settings_files(folder)) if folder.is_dir() else self._commit()

    def _commit(self) -> str:
        return hub_commit(self.source, self.revision) or self.revision or ""

    def _read(self, factory: Any, what: str) -> Any:
        try:
            return self._from_pretrained(factory)
        except ModelError:
            raise
        except Exception as error:  # with wrong types in a file, transformers may raise anything
            if is_out_of_memory(error):
                raise
            raise ModelError(
                f"the {what} of {self.source} cannot be read: {type(error).__name__}: {first_line(error)}",
                "Restore the folder's files",
            ) from error

    def _from_pretrained(self, factory: Any, **kwargs: Any) -> Any:
        revision = {} if Path(self.source).exists() else {"revision": self.revision}
        try:
            return factory.from_pretrained(self.source, trust_remote_code=self.trust_remote_code, **revision, **kwargs)
        except (OSError, ValueError) as error:  # a folder without a tokenizer is a ValueError
            if is_out_of_memory(error):
                raise OutOfMemory(error) from error
            raise ModelError(
                f"path {self.source} cannot be loaded: {first_line(error)}",
                "Check the id, your access to it (accept its licence on its page) and the network, or give a folder",
                part=self.part,
            ) from error


def hub_commit(source: str, revision: str | None) -> str | None:
    """Return the commit of a Hub id in the local cache; None if there is none."""
    folder = _snapshot(source, revision)
    return None if folder is None else extract_commit_hash(f"{folder}/config.json", None)


def _snapshot(source: str, revision: str | None) -> Path | None:
    try:
        config = cached_file(source, "config.json", revision=revision, local_files_only=True)
    except (OSError, ValueError):
        return None
    return None if config is None else Path(config).parent
