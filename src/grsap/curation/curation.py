"""The settings of a curation: from raw rows to a replay set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from grsap.curation.base import Filter
from grsap.curation.harmlessness import HARMFUL, NOT_REFUSED, Harmlessness
from grsap.curation.output import MANIFEST
from grsap.curation.raw_rows import RawRows
from grsap.embedding import Embedder
from grsap.errors import ConfigError, DataError
from grsap.json_text import read_object
from grsap.judging.base import Judge


@dataclass(frozen=True)
class Curation:
    """Makes a replay set of raw safety rows, by filters in the order given.

    Args:
        input: folder of `.jsonl` shards, such as the `--output_dir` of `grsap synthesize`, or one `.jsonl` file.
        filters: each is given the rows that the ones before it left.
        embedder: for filters that compare meanings.
        judge: for filters that ask whether a response is harmful.
        judge_batch_size: exchanges that the judge is given at once; so many may be judged again after a kill.
        seed: of all that is random.
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
        """Find what is wrong with settings, filters and input; loads no weights.

        Raises:
            UserError: names the setting, or the file and line.
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
            if getattr(self, name) is None:
                raise ConfigError(f"{where} needs {name}, which is not set", f"Set {name}, or leave the filter out")
        if each.takes_rejected & {HARMFUL, NOT_REFUSED} and not any(isinstance(one, Harmlessness) for one in before):
            raise ConfigError(f"{where} stands before any Harmlessness", "Put it behind, or leave it out")
        each.check(where)
        if self.judge is not None:
            each.check_judge(self.judge, where)

    def _check_source(self) -> None:
        """Compare the shards with the manifest beside them, if there is one."""
        path = self.raw.path / MANIFEST
        for name, entry in (read_object(path).get("files") or {}).items():
            if name.endswith(".jsonl") and self.raw.files.get(name) != entry:
                raise DataError(
                    f"is not what {MANIFEST} beside it says",
                    "Restore it, or remove the manifest if you changed the rows",
                    path=self.raw.path / name,
                )
