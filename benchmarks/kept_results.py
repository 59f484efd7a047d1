"""Where results are kept: lines of a file that only grows, or a table of sqlite3 in WAL mode.

    python -m benchmarks.kept_results [--entries 1000000] [--commits 300]

An entry is an answer of about 600 bytes. Prints entries/s with one commit (on disk when it returns) for each entry and
for each 32 entries; then the time to open a store of `--entries` and to look up one key, the time of 1,000 further
look-ups at random keys, and by how much the process's memory grew meanwhile. `in memory` holds all lines as a dict.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from grsap.checksums import CHECKSUM, checked_line, is_whole, read_checked_lines, with_checksum
from grsap.result_log import ResultLog

KEY = ("prompt", "sample")
TEXT = "A short answer to a question that nobody asked, and a few words more. " * 6


class Store(Protocol):
    def add(self, entries: list[dict[str, Any]]) -> None: ...
    def get(self, prompt: str, sample: int) -> dict[str, Any] | None: ...


class Sqlite:
    """The same checksums, so that a flipped bit is found; FULL waits for the disk at each commit, as `ResultLog`."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS entries (prompt TEXT, sample INT, entry TEXT, PRIMARY KEY (prompt, sample)) "
            "WITHOUT ROWID"
        )

    def add(self, entries: list[dict[str, Any]]) -> None:
        with self.connection:
            self.connection.executemany(
                "INSERT OR IGNORE INTO entries VALUES (?, ?, ?)",
                [(each["prompt"], each["sample"], json.dumps(with_checksum(each))) for each in entries],
            )

    def get(self, prompt: str, sample: int) -> dict[str, Any] | None:
        row = self.connection.execute("SELECT entry FROM entries WHERE prompt = ? AND sample = ?", (prompt, sample))
        entry: dict[str, Any] = json.loads(row.fetchone()[0])
        assert is_whole(entry)
        del entry[CHECKSUM]
        return entry


class InMemory:
    def __init__(self, path: Path) -> None:
        self.entries = {(each["prompt"], each["sample"]): each for _, each in read_checked_lines(path)}

    def get(self, prompt: str, sample: int) -> dict[str, Any] | None:
        return self.entries[prompt, sample]


def entry_of(number: int) -> dict[str, Any]:
    return {"prompt": f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}", "sample": 0, "response": TEXT, "num_tokens": 99}


def write(store: Store, commits: int, size: int) -> float:
    """Entries a second."""
    started = time.perf_counter()
    for number in range(commits):
        store.add([entry_of(each) for each in range(number * size, (number + 1) * size)])
    return commits * size / (time.perf_counter() - started)


def fill_log(path: Path, num: int) -> None:
    with path.open("wb") as file:
        file.writelines(checked_line(entry_of(each)) for each in range(num))


def fill_sqlite(path: Path, num: int) -> None:
    store = Sqlite(path)
    store.connection.execute("PRAGMA synchronous=OFF")
    for start in range(0, num, 10_000):
        store.add([entry_of(each) for each in range(start, min(num, start + 10_000))])


def read(make: Callable[[], Store], num: int) -> tuple[float, float, float]:
    """Seconds to open and look up one key, seconds of 1,000 look-ups, and MiB that memory grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    store = make()
    assert store.get(*(entry_of(num - 1)[name] for name in KEY)) == entry_of(num - 1)
    opened = time.perf_counter() - started
    draw = random.Random(0)
    started = time.perf_counter()
    for _ in range(1000):
        assert store.get(*(entry_of(draw.randrange(num))[name] for name in KEY)) is not None
    looked_up = time.perf_counter() - started
    return opened, looked_up, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(function, arguments)


def measure(kind: str, folder: Path, num: int) -> tuple[float, float, float]:
    stores: dict[str, Callable[[], Any]] = {
        "ResultLog": lambda: ResultLog(folder / "log", KEY),
        "sqlite3": lambda: Sqlite(folder / "sqlite"),
        "in memory": lambda: InMemory(folder / "log"),
    }
    return read(stores[kind], num)


def main(words: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--commits", type=int, default=300)
    arguments = parser.parse_args(None if words is None else list(words))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in (1, 32, 1, 32):
            for kind, make in (("ResultLog", lambda path: ResultLog(path, KEY)), ("sqlite3", Sqlite)):
                rate = write(make(folder / f"{kind}-{size}-{time.monotonic_ns()}"), arguments.commits, size)
                print(f"{kind}: {rate:,.0f} entries/s, {size} a commit", flush=True)
        fill_log(folder / "log", arguments.entries)
        fill_sqlite(folder / "sqlite", arguments.entries)
        sizes = {each: (folder / each).stat().st_size / 2**20 for each in ("log", "sqlite")}
        print(f"{arguments.entries:,} entries: {sizes['log']:,.0f} MiB of lines, {sizes['sqlite']:,.0f} of sqlite3")
        for kind in ("ResultLog", "sqlite3", "in memory"):
            opened, looked_up, grown = in_process(measure, kind, folder, arguments.entries)
            print(f"{kind}: opened in {opened:.2f} s, 1,000 keys in {looked_up:.3f} s, +{grown:,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
