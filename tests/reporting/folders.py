"""Folders of a curation, a synthesis and a similarity, as docs/formats.md describes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grsap.records import write_jsonl


def step(name: str, num_in: int, num_kept: int, **more: Any) -> dict[str, Any]:
    empty = {"settings": {}, "takes_rejected": [], "reasons": {}, "histograms": [], "audit": {}, "counts": []}
    named = {"name": name, "class_path": f"grsap.curation.{name}"}
    return {**named, "num_in": num_in, "num_kept": num_kept, **empty, **more}


def histogram(score: str, counts: list[int], edges: list[float], log: bool = False, **cuts: float) -> dict[str, Any]:
    return {"score": score, "log": log, "edges": edges, "counts": counts, "cuts": cuts}


def curation_manifest() -> dict[str, Any]:
    """10 raw rows: 2 go for length, 3 as near-duplicates, 2 as harmful, of which 1 comes back."""
    return {
        "schema": "grsap.curation/1",
        "grsap_version": "0.1.0",
        "seed": 7,
        "input": {"hash": "aaaabbbbccccdddd", "num_rows": 10, "files": {}},
        "models": {"embedder": {"kind": "minilm"}, "judge": {"name": "words", "revision": "r1", "is_proxy": False}},
        "steps": [
            step(
                "Completeness",
                10,
                8,
                reasons={"cut_by_length": 2},
                histograms=[
                    histogram("perplexity", [1, 6, 1], [2.0, 8.0, 64.0, 512.0], log=True, below=8.0, above=64.0)
                ],
                audit={"bounds": {"all": [8.0, 64.0], "theft": [7.0, 60.0]}},
            ),
            step(
                "SemanticDeduplication",
                8,
                5,
                settings={"max_cosine": 0.9},
                reasons={"near_duplicate": 3},
                histograms=[histogram("nearest_cosine", [5, 3], [0.2, 0.9, 1.0], above=0.9)],
            ),
            step(
                "BenchmarkOverlap",
                5,
                5,
                histograms=[histogram("benchmark_share", [5, 0], [0.0, 5e-7, 1e-6], above=0)],
            ),
            step("Harmlessness", 5, 3, reasons={"harmful_response": 2}),
            step("Revision", 2, 1, takes_rejected=["harmful_response"], reasons={"not_revised": 1}),
        ],
        "counts": {
            "num_raw": 10,
            "num_replay": 4,
            "num_rejected": 6,
            "num_revised": 1,
            "rejected_by_reason": [],
            "replay": [
                {"domain": "theft", "behaviour": "refusal", "difficulty": "easy", "num": 2},
                {"domain": "theft", "behaviour": "refusal", "difficulty": "hard", "num": 1},
                {"domain": "fraud", "behaviour": "benign_answer", "difficulty": "easy", "num": 1},
            ],
        },
        "neighbours": [
            {
                "id": "theft-0",
                "neighbours": [
                    {"id": "theft-1", "cosine": 0.8712, "kept": True},
                    {"id": "fraud-0", "cosine": 0.51, "kept": False},
                ],
            }
        ],
        "files": {
            "replay.jsonl": {"num_rows": 4, "hash": "1111222233334444"},
            "rejected.jsonl": {"num_rows": 6, "hash": "5555666677778888"},
        },
    }


def curation_folder(folder: Path, texts: list[str]) -> Path:
    """With the rows that the neighbours name; `texts` are query and response of each."""
    rows = [
        {"id": id_, "messages": [{"role": "user", "content": texts[0]}, {"role": "assistant", "content": texts[1]}]}
        for id_ in ("theft-0", "theft-1", "fraud-0", "unnamed")
    ]
    folder.mkdir(parents=True)
    write_jsonl(folder / "replay.jsonl", rows[:2])
    write_jsonl(folder / "rejected.jsonl", rows[2:])
    return write(folder, "manifest.json", curation_manifest())


def synthesis_folder(folder: Path) -> Path:
    tally = {
        "num_asked": 20,
        "num_usable": 15,
        "yield": 0.75,
        "num_unusable": {"too_short": 4, "refusal": 1},
        "num_rows": 15,
        "num_cut": 2,
        "num_query_tokens": 300,
        "num_response_tokens": 700,
    }
    counts = {"total": tally, "num_unfilled": 0, "groups": {"property": tally}, "domains": {}}
    manifest = {"status": "complete", "seed": 3, "seconds": 50.0, "tokens_per_second": 20.0, "counts": counts}
    return write(folder, "manifest.json", {"schema": "grsap.synthesis/1", "grsap": "0.1.0", **manifest})


def similarity_folder(folder: Path) -> Path:
    distinct = {"num_distinct_queries": 39, "num_distinct_responses": 38}
    population = {"num_rows": 40, **distinct, "effective_num_domains": 6.25}
    measure = {"measure": "mauve_c5", "view": "query", "expected_if_same": None, "details": {}}
    result = {
        "schema": "grsap.similarity/1",
        "grsap_version": "0.1.0",
        "inputs_hash": "9999aaaabbbbcccc",
        "seed": 5,
        "seconds": 12.0,
        "num_rows_compared": 20,
        "embedder": {"kind": "minilm"},
        "model": None,
        "populations": {"raw": population, "reference": population},
        "measures": [
            {**measure, "population": "raw", "against": "reference", "value": 0.812, "low": 0.7, "high": 0.9},
            {**measure, "population": "raw", "against": "itself", "value": 0.97, "low": None, "high": None},
        ],
        "differences": [],
        "cannot_know": ["Whether the reference is whole"],
    }
    return write(folder, "similarity.json", result)


def write(folder: Path, name: str, content: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder
