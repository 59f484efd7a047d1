"""The manifest of a synthesis and its summary table. Neither contains text of queries or responses."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from grsap import __version__
from grsap.checksums import read_checked_json, write_checked_json
from grsap.console import Console
from grsap.errors import DataError, RunFolderError
from grsap.progress import duration
from grsap.response_logprobs import tokenizer_hash
from grsap.synthesis.domains import domains_hash
from grsap.synthesis.raw_folder import ATTEMPTS, RawFolder
from grsap.synthesis.state import SynthesisState, Tally
from grsap.synthesis.synthesis import Synthesis

SCHEMA = "grsap.synthesis/1"
MANIFEST = "manifest.json"


class SynthesisManifest:
    """Counts of a synthesis, over all calls on its folder.

    Args:
        settings: settings of the synthesis.
        folder: its files.
        state: its progress; counts are read from it on each use.

    Attributes:
        status: `running`, `unfinished`, `budget_spent` or `complete`, as last written.
    """

    def __init__(self, settings: Synthesis, folder: RawFolder, state: SynthesisState) -> None:
        self.settings = settings
        self.folder = folder
        self.status = "running"
        self._state = state
        self._path = folder.path / MANIFEST
        self._earlier = self._read()
        seconds = self._earlier.get("seconds")
        self._earlier_seconds = float(seconds) if isinstance(seconds, int | float) else 0.0
        self._made_with = {
            "weights_revision": settings.generator.weights_revision(),
            "template_hash": settings.generator.template.hash,
            "tokenizer_hash": tokenizer_hash(settings.generator.tokenizer.get_vocab()),
            "domains_hash": domains_hash(settings.chosen_domains),
        }
        self._started = time.monotonic()
        self._at_start = self.total.num_tokens

    @property
    def seconds(self) -> float:
        """Working time of all calls on the folder; a killed call's time since its last manifest is lost."""
        is_working = self._state.num_tokens.total() > self._at_start or self.status == "running"
        return self._earlier_seconds + (time.monotonic() - self._started if is_working else 0.0)

    @property
    def total(self) -> Tally:
        """Sum of all counts."""
        return _sum(self._state.tallies.values())

    def groups(self) -> dict[str, Tally]:
        """Sum the counts by group, in the order of the domains."""
        groups: dict[str, Tally] = {}
        for domain in self.settings.chosen_domains:
            mine = [tally for (name, _), tally in self._state.tallies.items() if name == domain.name]
            groups.setdefault(domain.group, Tally()).add(_sum(mine))
        return groups

    def num_unfilled(self) -> int:
        """Count the rows whose attempts are used up."""
        return self._state.num_given_up(self.settings.quota.max_attempts)

    def check_same(self) -> None:
        """Raise RunFolderError if the folder contains work with other weights, another template or other domains."""
        if not self.total.num_asked:
            return
        for name, value in self._made_with.items():
            if self._earlier.get(name, value) != value:
                raise RunFolderError(
                    f"{self.folder.path} contains work with another {name}: {self._earlier[name]}; it is now {value}",
                    "Restore the earlier one to continue, or choose another folder with --output_dir",
                )

    def write(self, status: str, *, with_files: bool = False) -> None:
        """Write the manifest atomically.

        Args:
            status: the new `status`.
            with_files: whether to count and hash the shards, which reads all of them.
        """
        self.status = status
        settings = self.settings
        manifest = {
            "schema": SCHEMA,
            "status": status,
            "grsap": __version__,
            "packages": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
            "generator": settings.generator.identity(),
            **self._made_with,
            "seed": settings.seed,
            "seconds": round(self.seconds, 3),
            "tokens_per_second": None if not self.seconds else round(self.total.num_tokens / self.seconds, 2),
            "counts": {
                "total": self.total.to_dict(),
                "num_unfilled": self.num_unfilled(),
                "groups": {name: tally.to_dict() for name, tally in self.groups().items()},
                "domains": self._domains(),
            },
            "files": self.folder.describe() if with_files else {},
        }
        write_checked_json(self._path, manifest)

    def check_not_empty(self) -> None:
        """Raise DataError if there is no row."""
        total = self.total
        if total.num_rows:
            return
        reasons = ", ".join(f"{reason} {count}" for reason, count in total.num_unusable.most_common(3)) or "none"
        raise DataError(
            f"{total.num_asked} attempts gave no row ({reasons})",
            f"Read {self.folder.path / ATTEMPTS}; try another elicitation, or more query_sampling.max_new_tokens",
        )

    def _domains(self) -> dict[str, dict[str, Any]]:
        counts: dict[str, dict[str, Any]] = {}
        for (name, kind), tally in self._state.tallies.items():
            counts.setdefault(name, {})[kind] = tally.to_dict()
        return {domain.name: counts.get(domain.name, {}) for domain in self.settings.chosen_domains}

    def _read(self) -> dict[str, Any]:
        """Read the manifest of an earlier call; empty if there is none.

        Raises:
            DataError: it is damaged.
        """
        return read_checked_json(self._path) or {}


def print_summary(manifest: SynthesisManifest, console: Console | None = None) -> None:
    """Print a row per group: attempts, usable queries, yield, responses, tokens per second of the total time."""
    console = console or Console()
    table = Table(title="Synthesis", title_justify="left")
    table.add_column("domains of")
    for heading in ("asked", "usable", "yield", "answered", "cut", "tokens/s"):
        table.add_column(heading, justify="right")
    for name, tally in manifest.groups().items():
        table.add_row(Text(name), *_cells(tally, manifest.seconds))
    table.add_section()
    table.add_row(Text("all"), *_cells(manifest.total, manifest.seconds))
    console.print(table)
    for line in notes(manifest):
        console.print_line(line)


def notes(manifest: SynthesisManifest) -> list[str]:
    """Return the lines below the table."""
    total = manifest.total
    lines = []
    if manifest.status == "budget_spent":
        lines.append("stopped because the budget is spent; raise quota.max_tokens or quota.max_seconds to continue")
    if total.num_unusable:
        reasons = ", ".join(f"{reason} {count}" for reason, count in total.num_unusable.most_common())
        lines.append(f"unusable: {reasons} (stored in {ATTEMPTS})")
    if manifest.num_unfilled():
        lines.append(f"rows given up after {manifest.settings.quota.max_attempts} attempts: {manifest.num_unfilled()}")
    lines.append(f"{total.num_rows:,} rows, {total.num_tokens:,} tokens, {duration(manifest.seconds)}")
    return [*lines, f"rows: {manifest.folder.path}/shard-*.jsonl"]


def _cells(tally: Tally, seconds: float) -> list[str]:
    return [
        f"{tally.num_asked:,}",
        f"{tally.num_usable:,}",
        "-" if tally.yield_ is None else f"{100 * tally.yield_:.0f} %",
        f"{tally.num_rows:,}",
        f"{tally.num_cut:,}",
        f"{tally.num_tokens / seconds:,.0f}" if seconds else "-",
    ]


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total
