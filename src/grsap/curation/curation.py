"""Settings of a curation, which makes a replay set of raw rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from grsap.curation.base import SERVICES, Filter
from grsap.curation.harmlessness import HARMFUL, NOT_REFUSED, Harmlessness
from grsap.curation.output import MANIFEST
from grsap.curation.raw_rows import RawRows
from grsap.embedding import Embedder
from grsap.errors import ConfigError, DataError
from grsap.json_text import read_object
from grsap.judging.base import Judge
from grsap.plugins import PluginError


@dataclass(frozen=True)
class Curation:
    """Make a replay set of raw safety rows, with filters.

    Args:
        input: folder of `.jsonl` shards, such as the `--output_dir` of `grsap synthesize`, or one `.jsonl` file.
        filters: applied in this order; each receives the rows that earlier ones kept.
        embedder: for filters that compare meanings.
        judge: for filters that need to know whether a response is harmful.
        judge_batch_size: exchanges per call of the judge; after a kill, up to this many are judged again.
        seed: seed of all random choices.
    """

    input: str
    filters: list[Filter]
    embedder: Embedder | None = None
    judge: Judge | None = None
    judge_batch_size: int = 64
    seed: int = 0

    @cached_property
    def raw(self) -> RawRows:
        """The rows of the input."""
        return RawRows(self.input)

    def check(self) -> None:
        """Check settings, filters and input, without loading weights.

        Raises:
            UserError: names the wrong setting, or the file and line.
        """
        if not self.filters:
            raise ConfigError("filters is empty", "Give at least one, such as Completeness")
        if self.judge_batch_size < 1:
            raise ConfigError(f"judge_batch_size is {self.judge_batch_size}", "Give at least 1")
        for number, each in enumerate(self.filters):
            self._check_filter(each, f"filters[{number}] ({type(each).__name__})", self.filters[:number])
        if self.embedder is not None:
            self.embedder.check()
        if self.judge is not None:
            self.judge.prepare()
        self._check_source()

    def _check_filter(self, each: Filter, where: str, before: Sequence[Filter]) -> None:
        for name in sorted(each.needs):
            if name not in SERVICES:
                raise PluginError(each, "needs", f"names {name!r}", f"Name {' or '.join(SERVICES)}")
            if getattr(self, name) is None:
                raise ConfigError(f"{where} needs {name}, which is not set", f"Set {name}, or leave the filter out")
        if each.takes_rejected & {HARMFUL, NOT_REFUSED} and not any(isinstance(one, Harmlessness) for one in before):
            raise ConfigError(f"{where} is before any Harmlessness", "Move it after Harmlessness, or leave it out")
        each.check(where)
        if self.judge is not None:
            each.check_judge(self.judge, where)

    def _check_source(self) -> None:
        """Compare the shards with the manifest beside them, if there is one."""
        path = self.raw.path / MANIFEST
        for name, entry in (read_object(path).get("files") or {}).items():
            if name.endswith(".jsonl") and self.raw.files.get(name) != entry:
                raise DataError(
                    f"does not match the {MANIFEST} beside it",
                    "Restore it, or remove the manifest if you changed the rows",
                    path=self.raw.path / name,
                )
