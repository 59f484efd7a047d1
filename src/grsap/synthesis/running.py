"""Runs a synthesis in its folder: rows and attempts that are on disk are not made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grsap.console import say
from grsap.progress import progress_line
from grsap.synthesis.manifest import SynthesisManifest, print_summary
from grsap.synthesis.quota import CompleteAndDistinct
from grsap.synthesis.raw_folder import RawFolder
from grsap.synthesis.slots import Slot, slots_of
from grsap.synthesis.state import SynthesisState
from grsap.synthesis.synthesis import Synthesis
from grsap.synthesis.writing import Writer


def run_synthesis(settings: Synthesis, output_dir: Path) -> None:
    """Write what is missing in a folder, and print what there is.

    Raises:
        UserError: the folder's files are broken, of another model or cannot be written, or nothing usable came.
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
            manifest.write_quietly("unfinished")
            raise
        finally:
            settings.generator.close()
        manifest.write(status, with_files=True)
    finally:
        folder.close()
    print_summary(manifest)
    manifest.check_not_empty()


def _work(settings: Synthesis, folder: RawFolder, state: SynthesisState, manifest: SynthesisManifest) -> str:
    """Wave after wave, until the quota is met or the budget is spent; says which."""
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
    """Queries and answers that are still to come; None where the quota does not determine it."""
    num = settings.quota.num_per_domain
    if num is None:
        return None
    slots = [slot for each in settings.chosen_domains for slot in slots_of(each, 0, num, settings.quota.benign_share)]
    ids = [slot.id(settings.seed) for slot in slots]
    return sum(0 if state.is_answered(each) else 2 - (state.query(each) is not None) for each in ids)


def _deadline(settings: Synthesis, manifest: SynthesisManifest) -> Callable[[], bool]:
    """Whether the time is over."""
    limit = settings.quota.max_seconds
    return (lambda: False) if limit is None else (lambda: manifest.seconds >= limit)
