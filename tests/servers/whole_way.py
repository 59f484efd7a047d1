"""Synthesis and curation through a server, each twice: the rows that the seed asks for, and none lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from grsap.curation import Behaviour, Completeness, Curation, Harmlessness
from grsap.curation.running import run_curation
from grsap.generation import OpenAIGenerator, SamplingSettings
from grsap.judging import RefusalMatcher
from grsap.synthesis import Quota, Synthesis, load_domains
from grsap.synthesis.running import run_synthesis
from grsap.synthesis.slots import slots_of

DOMAINS = ["theft", "weapons", "self-harm", "cybercrime"]
NUM = 2


def assert_whole_way(make: Callable[[], OpenAIGenerator], folder: Path) -> None:
    """Ask for two queries of each of four domains and a harmless counterpart to every second one, then curate them."""
    wanted = {slot.id(3) for each in load_domains(names=DOMAINS) for slot in slots_of(each, 0, NUM, 0.5)}
    assert len(wanted) == 4 * (2 + 1)
    for name in ("raw", "again"):
        _synthesize(make, folder / name)
        assert _ids(folder / name, "shard-*.jsonl") == wanted
    kept, rejected = _curate(folder / "raw", folder / "curated")
    assert kept.isdisjoint(rejected)
    assert kept | rejected == wanted
    manifest = json.loads((folder / "curated" / "manifest.json").read_text())
    assert (manifest["counts"]["num_raw"], manifest["counts"]["num_replay"]) == (len(wanted), len(kept))
    assert [step["name"] for step in manifest["steps"]] == ["Completeness", "Harmlessness", "Behaviour"]


def _synthesize(make: Callable[[], OpenAIGenerator], folder: Path) -> None:
    """Run it, and again over what is there, which asks for nothing."""
    work = Synthesis(
        generator=make(),
        quota=Quota(num_per_domain=NUM, benign_share=0.5, max_attempts=20),
        domain_names=DOMAINS,
        query_sampling=SamplingSettings(48, 1.0),
        response_sampling=SamplingSettings(64, 0.8, 0.95),
        seed=3,
    )
    work.check()
    run_synthesis(work, folder)
    before = (folder / "attempts.log").read_bytes()
    run_synthesis(replace(work, generator=make()), folder)
    assert (folder / "attempts.log").read_bytes() == before


def _curate(raw: Path, folder: Path) -> tuple[set[str], set[str]]:
    filters = [Completeness(), Harmlessness(allow_proxy=True), Behaviour(reject_over_refusals=True)]
    work = Curation(str(raw), filters, judge=RefusalMatcher())
    work.check()
    run_curation(work, folder)
    return _ids(folder, "replay.jsonl"), _ids(folder, "rejected.jsonl")


def _ids(folder: Path, pattern: str) -> set[str]:
    lines = [line for file in sorted(folder.glob(pattern)) for line in file.read_text().splitlines()]
    ids = {json.loads(line)["id"] for line in lines}
    assert len(ids) == len(lines)
    return ids
