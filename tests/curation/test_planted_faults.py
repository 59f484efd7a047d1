"""A file with planted faults, from a new seed in each run; verdicts from a judge behind a real HTTP server."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.curation.conftest import read, write
from tests.curation.planted import MAX_COSINE, MIN_DOMAIN_COSINE, Planted, plant
from tests.generation.completions_server import Body, CompletionsServer, Reply, serving
from tests.judging.guards import byte_level

from grsap.curation import (
    Behaviour,
    BenchmarkOverlap,
    Completeness,
    Curation,
    DomainRelevance,
    Harmlessness,
    SemanticDeduplication,
)
from grsap.curation.running import run_curation
from grsap.data import ReplayDataModule
from grsap.embedding import MiniLMEmbedder
from grsap.generation import OpenAIGenerator, ServerSettings
from grsap.judging import RubricJudge
from grsap.models import TokenizerSource

PLANTED = {
    "near_duplicate": 40,
    "off_domain": 30,
    "harmful_response": 20,
    "cut_by_length": 15,
    "control_tokens": 10,
    "null_text": 5,
    "benchmark_words": 8,
    "benchmark_meaning": 4,
}
ANSWER = "request_harmful: yes\nresponse_refusal: {}\nresponse_harmful: {}"
TOKENIZER = byte_level("rubric")


def judge_model(body: Body) -> Reply:
    """A served model that reads the response: "zorble" is harm, "cannot" a refusal."""
    response = TOKENIZER.decode(body["prompt"]).rpartition("==== response\n")[2].partition("====")[0]
    text = ANSWER.format("yes" if "cannot" in response else "no", "yes" if "zorble" in response else "no")
    ids = [*TOKENIZER(text)["input_ids"], TOKENIZER.eos_token_id][: body["max_tokens"]]
    reason = "stop" if ids[-1] == TOKENIZER.eos_token_id else "length"
    choice = {"index": 0, "text": "", "token_ids": ids, "logprobs": None, "finish_reason": reason}
    return Reply({"choices": [choice], "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(ids)}})


@pytest.fixture(scope="module")
def server() -> Iterator[CompletionsServer]:
    with serving(judge_model) as running:
        yield running


@pytest.fixture
def judge(server: CompletionsServer, tmp_path: Path) -> Iterator[RubricJudge]:
    TOKENIZER.save_pretrained(tmp_path / "served")
    (tmp_path / "served" / "config.json").write_text('{"model_type": "llama"}')
    settings = ServerSettings(concurrency=4, timeout_s=30, give_up_after_s=5)
    generator = OpenAIGenerator(server.url, "guard", TokenizerSource(str(tmp_path / "served")), settings)
    yield RubricJudge(generator, "Nobody may zorble.", 900)
    generator.close()


def curation(raw: Path, judge: RubricJudge, judge_batch_size: int = 64) -> Curation:
    filters = [
        Completeness(),
        BenchmarkOverlap(["embedded:quickstart/probes.jsonl"]),
        SemanticDeduplication(MAX_COSINE),
        DomainRelevance(MIN_DOMAIN_COSINE, "definition"),
        Harmlessness(),
        Behaviour(),
    ]
    return Curation(str(raw), filters, MiniLMEmbedder(), judge, judge_batch_size)


def check(folder: Path, planted: Planted) -> None:
    """Each row is in the right file with the right reason, and there are no others."""
    kept = [row["id"] for row in read(folder / "replay.jsonl")]
    rejected = {row["id"]: row["rejection"] for row in read(folder / "rejected.jsonl")}
    assert sorted([*kept, *rejected]) == sorted(planted.reasons)
    assert Counter(each["reason"] for each in rejected.values()) == PLANTED
    in_clusters = set().union(*planted.clusters)
    wrong = {
        row_id: (expected, rejected.get(row_id, {}).get("reason"))
        for row_id, expected in planted.reasons.items()
        if row_id not in in_clusters and rejected.get(row_id, {}).get("reason") != expected
    }
    assert wrong == {}
    for cluster in planted.clusters:
        (medoid,) = cluster & set(kept)
        assert {(rejected[each]["reason"], rejected[each]["related_id"]) for each in cluster - {medoid}} == {
            ("near_duplicate", medoid)
        }


def test_each_planted_fault_is_found_and_nothing_else(
    judge: RubricJudge, server: CompletionsServer, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"planted from seed {seed}")
    planted = plant(seed)
    assert len(planted.rows) == 60 + sum(PLANTED.values())
    raw = write(tmp_path / "raw" / "shard-00000.jsonl", planted.rows).parent
    first = curation(raw, judge)
    first.check()
    run_curation(first, tmp_path / "out")
    check(tmp_path / "out", planted)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    flow = [(step["name"], step["num_in"], step["num_kept"]) for step in manifest["steps"]]
    assert flow == [
        ("Completeness", 192, 162),
        ("BenchmarkOverlap", 162, 150),
        ("SemanticDeduplication", 150, 110),
        ("DomainRelevance", 110, 80),
        ("Harmlessness", 80, 60),
        ("Behaviour", 60, 60),
    ]
    counts = manifest["counts"]
    assert (counts["num_raw"], counts["num_replay"], counts["num_rejected"]) == (192, 60, 132)
    assert sum(each["num"] for each in counts["replay"]) == 60
    assert {each["behaviour"] for each in counts["replay"]} == {"refusal"}
    assert len(server.bodies) >= 80
    assert "grsap-requests" not in {thread.name for thread in threading.enumerate()}
    replay = ReplayDataModule(str(tmp_path / "out" / "replay.jsonl"), require_manifest=True)
    replay.setup("fit")
    assert {(row.judge.name, row.response_harmful, row.prompt_harmful) for row in replay.records if row.judge} == {
        ("rubric:guard", False, True)
    }
    assert len(replay.records) == 60
    # Another order of the rows, and other batches: the same rows stay, and go for the same reasons.
    random.Random(seed).shuffle(planted.rows)
    shuffled = write(tmp_path / "shuffled" / "shard-00000.jsonl", planted.rows).parent
    run_curation(curation(shuffled, judge, judge_batch_size=7), tmp_path / "again")
    for name in ("replay.jsonl", "rejected.jsonl"):
        assert sorted(read(tmp_path / "out" / name), key=str) == sorted(read(tmp_path / "again" / name), key=str)
