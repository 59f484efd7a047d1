"""Runs a synthesis in its folder. Attempts and rows that are on disk are not generated again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from grsap.console import say
from grsap.errors import RunFolderError
from grsap.progress import progress_line
from grsap.synthesis.manifest import SynthesisManifest, print_summary
from grsap.synthesis.quota import CompleteAndDistinct
from grsap.synthesis.raw_folder import RawFolder
from grsap.synthesis.slots import Slot, slots_of
from grsap.synthesis.state import SynthesisState
from grsap.synthesis.synthesis import Synthesis
from grsap.synthesis.writing import Writer


def run_synthesis(settings: Synthesis, output_dir: Path) -> None:
    """Generate the rows that a folder lacks, and print the counts of all its rows.

    Raises:
        UserError: the folder's files are damaged, of another model or cannot be written, or no row was usable.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    folder = RawFolder(output_dir, settings.rows_per_shard, settings.response_sampling.top_logprobs is not None)
    for repair in folder.repairs:
        say(repair)
    try:
        state = SynthesisState.read(folder, keep_rows=settings.quota.until_kept is not None)
        manifest = SynthesisManifest(settings, folder, state)
        manifest.check_same()
        try:
            manifest.write("running")
            status = _work(settings, folder, state, manifest)
        except BaseException:
            with suppress(OSError, RunFolderError):  # a failure to write must not replace the first error
                manifest.write("unfinished")
            raise
        finally:
            settings.generator.close()
        manifest.write(status, with_files=True)
    finally:
        folder.close()
    print_summary(manifest)
    manifest.check_not_empty()


def _work(settings: Synthesis, folder: RawFolder, state: SynthesisState, manifest: SynthesisManifest) -> str:
    """Generate waves of rows until the quota is met or the budget is spent; return the status."""
    survival = settings.survival or CompleteAndDistinct()
    begun = dict.fromkeys(settings.chosen_domains, 0)
    num_tokens = 0
    with progress_line("Queries and answers", _num_missing(settings, state)) as advance:
        writer = Writer(settings, folder, state, advance, _deadline(settings, manifest))
        while True:
            wave: list[Slot] = []
            for domain, start in begun.items():
                kept = survival.checked_survivors(state.rows_before(domain.name, start))
                stop = settings.quota.next_stop(start, len(kept), len(begun))
                wave += slots_of(domain, start, stop, settings.quota.benign_share)
                begun[domain] = stop
            if not wave:
                return "complete"
            if settings.quota.max_tokens is not None and num_tokens >= settings.quota.max_tokens:
                return "budget_spent"
            if not writer.fill(wave):
                return "budget_spent"
            num_tokens += sum(state.num_tokens[slot.id(settings.seed)] for slot in wave)
            manifest.write("running")


def _num_missing(settings: Synthesis, state: SynthesisState) -> int | None:
    """Count the missing queries and responses; None if the quota does not determine their number."""
    num = settings.quota.num_per_domain
    if num is None:
        return None
    slots = [slot for each in settings.chosen_domains for slot in slots_of(each, 0, num, settings.quota.benign_share)]
    ids = [slot.id(settings.seed) for slot in slots]
    return sum(0 if state.is_answered(each) else 2 - (state.query(each) is not None) for each in ids)


def _deadline(settings: Synthesis, manifest: SynthesisManifest) -> Callable[[], bool]:
    """Return a function that says whether `quota.max_seconds` have passed."""
    limit = settings.quota.max_seconds
    return (lambda: False) if limit is None else (lambda: manifest.seconds >= limit)
