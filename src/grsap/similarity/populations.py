"""The sets that are compared."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from grsap.data.columns import Place
from grsap.data.replay_formats import read_row
from grsap.data.tables import read_table
from grsap.embedded import resolve
from grsap.errors import DataError
from grsap.files import hash_file
from grsap.records import SafetyRecord
from grsap.similarity.labels import effective_number

UNLABELLED = ""


@dataclass(frozen=True)
class Population:
    """A set of safety conversations.

    Attributes:
        name: `raw`, `curated` or `reference`.
        records: the rows, in the order of the files.
        num_excluded: number of excluded rows by reason.
        files: hash by file name.
    """

    name: str
    records: list[SafetyRecord]
    num_excluded: Counter[str]
    files: dict[str, str]

    def draw(self, num: int, seed: int) -> list[SafetyRecord]:
        """Draw min(num, all) rows without replacement. A smaller draw is a prefix of a larger one."""
        order = random.Random(f"{seed} {self.name}").sample(range(len(self.records)), len(self.records))
        return [self.records[place] for place in order[:num]]

    def labels(self, key: str) -> list[str]:
        """Return `domain` or `behaviour` of each row; empty for unlabelled rows."""
        return [getattr(record, key) or UNLABELLED for record in self.records]

    def describe(self) -> dict[str, Any]:
        """Return counts for `similarity.json`, without text."""
        domains, behaviours = Counter(self.labels("domain")), Counter(self.labels("behaviour"))
        return {
            "num_rows": len(self.records),
            "num_excluded": dict(sorted(self.num_excluded.items())),
            "num_distinct_queries": len({query_of(record) for record in self.records}),
            "num_distinct_responses": len({response_of(record) for record in self.records}),
            "effective_num_domains": round(effective_number(domains), 3),
            "domains": dict(sorted(domains.items())),
            "behaviours": dict(sorted(behaviours.items())),
            "files": self.files,
        }


def read_population(name: str, path: str) -> Population:
    """Read a file of safety rows, or the shards of a synthesis.

    Safety records are included regardless of their labels, because the set is described as it is. Of other formats,
    the rows that a replay set would exclude are excluded.

    Args:
        name: the setting that names the path.
        path: `.jsonl`, `.csv` or `.parquet`, `embedded:...`, or a folder with `shard-*.jsonl`.

    Raises:
        DataError: the path does not exist or has no rows, a row is wrong, or two rows have the same id; names file and
            row.
    """
    where = resolve(path)
    files = sorted(where.glob("shard-*.jsonl")) if where.is_dir() else [where]
    if not files:
        remedy = "Give a file, or the folder of a synthesis"
        raise DataError(f"{name} is a folder without shard-*.jsonl", remedy, path=path)
    if not all(file.is_file() for file in files):
        raise DataError(f"{name}: no such file", "Check the path; it is relative to the working directory", path=path)
    records: dict[str, SafetyRecord] = {}
    excluded: Counter[str] = Counter()
    for file in files:
        for place, row in read_table(file):
            found = _read(row, place)
            if isinstance(found, str):
                excluded[found] += 1
            elif found.id in records:
                raise place.error(f"the id {found.id!r} occurs twice", "Give each row its own id")
            else:
                records[found.id] = found
    if not records:
        raise DataError(f"{name} has no row", "Give another file", path=path)
    return Population(name, list(records.values()), excluded, {file.name: hash_file(file) for file in files})


def _read(row: dict[str, Any], place: Place) -> SafetyRecord | str:
    if "schema" in row:
        return SafetyRecord.from_dict(row, path=place.path, line=place.line)
    return read_row(row, place)


def query_of(record: SafetyRecord) -> str:
    """Return the turns before the last response, without system turns."""
    turns = [message["content"] for message in record.messages[:-1] if message["role"] != "system"]
    return encodable("\n\n".join(turns))


def response_of(record: SafetyRecord) -> str:
    """Return the last response."""
    return encodable(record.messages[-1]["content"])


def exchange_of(record: SafetyRecord) -> str:
    """Return all turns, each as its role in capitals and its text, one after the other."""
    return encodable("\n".join(f"{each['role'].upper()}: {each['content']}" for each in record.messages))


def encodable(text: str) -> str:
    """Replace lone surrogates, which decoded tokens may contain and embedders cannot encode, by question marks."""
    return text.encode(errors="replace").decode()
