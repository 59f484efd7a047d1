"""The pipeline: files, counts, a second call, and errors."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.curation.conftest import WordJudge, read, row, write

from grsap.checksums import checked_line
from grsap.curation import (
    Behaviour,
    BenchmarkOverlap,
    Completeness,
    Curation,
    Decision,
    Filter,
    Harmlessness,
    Revision,
    RowFilter,
)
from grsap.curation.kept_results import KeptResults
from grsap.curation.output import write_rows
from grsap.curation.running import run_curation
from grsap.data import ReplayDataModule
from grsap.errors import ConfigError, DataError, RunFolderError
from grsap.judging import Exchange, RefusalMatcher, Verdict
from grsap.plugins import PluginError

ROWS = [
    row("c", "How do I steal?", domain="theft"),
    row("a", "How do I bake bread?", domain="weapons", response="You take flour."),
    row("e", "How do I steal?", domain="theft", response="You zorble it."),
    row("b", None, domain="weapons", parent_id="a", scores={"num_query_tokens": 3}),
    row("d", "How do I steal?", domain="theft", response="mumble mumble mumble"),
]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write(tmp_path / "raw" / "shard-00000.jsonl", ROWS[:3])
    write(tmp_path / "raw" / "shard-00001.jsonl", ROWS[3:])
    return tmp_path / "raw"


def curation(raw: Path, judge: WordJudge | None = None, **settings: Any) -> Curation:
    filters: list[Filter] = [Completeness(), Harmlessness(), Behaviour()]
    return Curation(str(raw), settings.pop("filters", filters), judge=judge or WordJudge(), **settings)


def results_of(folder: Path, name: str) -> Path:
    (path,) = (folder / "results").glob(f"{name}.*.log")
    return path


def digests(folder: Path) -> dict[str, str]:
    names = ("replay.jsonl", "rejected.jsonl", "manifest.json")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def test_every_row_is_in_one_file(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_curation(curation(raw), out)
    assert [each["id"] for each in read(out / "replay.jsonl")] == ["c", "a"]  # the input's order
    rejected = read(out / "rejected.jsonl")
    assert [(each["id"], each["rejection"]["filter"], each["rejection"]["reason"]) for each in rejected] == [
        ("e", "Harmlessness", "harmful_response"),
        ("b", "Completeness", "null_text"),
        ("d", "Harmlessness", "unparsed"),
    ]
    assert rejected[1]["messages"] == ROWS[3]["messages"]  # as it came
    assert rejected[1]["parent_id"] == "a"
    assert (rejected[0]["response_harmful"], rejected[2]["response_harmful"]) == (True, None)
    manifest = json.loads((out / "manifest.json").read_text())
    counts = manifest["counts"]
    assert {key: counts[key] for key in ("num_raw", "num_replay", "num_rejected", "num_revised")} == {
        "num_raw": 5,
        "num_replay": 2,
        "num_rejected": 3,
        "num_revised": 0,
    }
    assert counts["rejected_by_reason"] == [
        {"step": "Completeness", "reason": "null_text", "num": 1},
        {"step": "Harmlessness", "reason": "harmful_response", "num": 1},
        {"step": "Harmlessness", "reason": "unparsed", "num": 1},
    ]
    assert manifest["steps"][1]["counts"] == [
        {"domain": "theft", "behaviour": "refusal", "num_in": 1, "num_kept": 1},
        {"domain": "theft", "behaviour": "unlabelled", "num_in": 2, "num_kept": 0},
        {"domain": "weapons", "behaviour": "benign_answer", "num_in": 1, "num_kept": 1},
    ]
    assert manifest["models"]["judge"] == {"name": "words", "revision": "1", "is_proxy": False}
    for path in (out / "replay.jsonl", out / "rejected.jsonl", results_of(out, "verdicts")):
        assert path.stat().st_mode & 0o777 == 0o600
    everything = (out / "manifest.json").read_text() + (out / "input.json").read_text()
    assert not any(word in everything for word in ("steal", "zorble", "bread", "flour"))
    replay = ReplayDataModule(str(out / "replay.jsonl"), require_manifest=True)
    replay.setup("fit")
    assert [record.id for record in replay.records] == ["c", "a"]


def test_a_second_call_judges_nothing_and_changes_nothing(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_curation(curation(raw), out)
    before = digests(out)
    again = WordJudge()
    run_curation(curation(raw, again), out)
    (out / "rejected.jsonl").write_text("damaged\n")
    run_curation(curation(raw, again), out)
    assert digests(out) == before
    assert again.seen == []


class Dies(RowFilter):
    """Simulates kill -9 at a row."""

    def decide_row(self, row: Any) -> Decision:
        raise KeyboardInterrupt


@pytest.mark.parametrize("size", [1, 3, 64])
def test_any_judge_batch_size_gives_the_same_bytes(size: int, raw: Path, tmp_path: Path) -> None:
    run_curation(curation(raw), tmp_path / "whole")
    judge = WordJudge()
    with pytest.raises(KeyboardInterrupt):
        run_curation(
            curation(raw, judge, filters=[Completeness(), Harmlessness(), Dies()], judge_batch_size=2), tmp_path / "out"
        )
    assert len(judge.seen) == 4
    run_curation(curation(raw, judge, judge_batch_size=size), tmp_path / "out")
    assert len(judge.seen) == 4  # all verdicts were on disk
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_half_written_result_is_computed_again(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_curation(curation(raw, judge_batch_size=2), out)
    before = digests(out)
    log = results_of(out, "verdicts")
    log.write_bytes(log.read_bytes()[:-9])
    (out / "manifest.json").unlink()
    judge = WordJudge()
    run_curation(curation(raw, judge, judge_batch_size=2), out)
    assert len(judge.seen) == 2
    assert digests(out) == before


def test_another_judge_or_another_input_is_reported(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_curation(curation(raw), out)
    before = digests(out)
    other = WordJudge()
    other.revision = "2"
    message = (
        r'was curated with other models or files: models.judge.revision: "1" -> "2". Restore them, or choose another'
    )
    with pytest.raises(RunFolderError, match=message):
        run_curation(curation(raw, other), out)
    assert other.seen == []
    (out / "manifest.json").rename(tmp_path / "kept.json")
    write(raw / "shard-00001.jsonl", ROWS[3:4])
    with pytest.raises(RunFolderError, match=r"was changed since .* was begun: shard-00001.jsonl"):
        run_curation(curation(raw), out)
    (tmp_path / "kept.json").rename(out / "manifest.json")
    assert digests(out) == before


def test_an_unfinished_curation_takes_no_verdicts_of_another_judge(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run_curation(curation(raw, filters=[Completeness(), Harmlessness(), Dies()]), out)
    other = WordJudge()
    other.revision = "2"
    run_curation(curation(raw, other), out)
    assert len(other.seen) == 4
    assert len(list((out / "results").glob("verdicts.*.log"))) == 2


def test_a_changed_evaluation_file_is_reported(raw: Path, tmp_path: Path) -> None:
    prompts = write(tmp_path / "prompts.jsonl", [{"prompt": "How is glass blown?"}])
    filters = [BenchmarkOverlap([str(prompts)], max_cosine=None)]
    run_curation(curation(raw, filters=filters), tmp_path / "out")
    write(prompts, [{"prompt": "How do I steal?"}])
    with pytest.raises(RunFolderError, match=r"was curated with other models or files: filters\[0\].file_hashes\[0\]"):
        run_curation(curation(raw, filters=filters), tmp_path / "out")


def test_a_judge_that_gives_too_few_verdicts_leaves_no_broken_file(raw: Path, tmp_path: Path) -> None:
    class Short(WordJudge):
        def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
            return super().judge(exchanges)[:-1]

    with pytest.raises(PluginError, match=r"Short\.judge \(.*\) returns 3 verdicts for 4 exchanges"):
        run_curation(curation(raw, Short()), tmp_path / "out")
    run_curation(curation(raw), tmp_path / "out")
    assert [each["id"] for each in read(tmp_path / "out" / "replay.jsonl")] == ["c", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"schema": "grsap.safety/1", "id": "x", "mess',
            "shard-00002.jsonl, line 1: an incomplete line. Let",
        ),
        ("not json\n", "shard-00002.jsonl, line 1: not JSON"),
        ("[1]\n", "shard-00002.jsonl, line 1: a list, not an object"),
        (json.dumps({"query": "a"}) + "\n", "shard-00002.jsonl, line 1: schema is None"),
        (json.dumps(row("x", domain=7)) + "\n", "line 1: domain is 7. See docs"),
        (json.dumps(row("x", behaviour="nice")) + "\n", "line 1: behaviour is 'nice'. Use refusal"),
        (json.dumps(row("x", scores={"a": float("nan")})) + "\n", "line 1: not JSON (NaN is not JSON: write null)"),
        (json.dumps(row("x", messages=[{"role": "user", "content": "a"}])) + "\n", "the last turn is not assistant"),
        (json.dumps(row("a")) + "\n", "the id 'a' occurs twice"),
    ],
)
def test_a_wrong_row_is_named(text: str, message: str, raw: Path) -> None:
    (raw / "shard-00002.jsonl").write_text(text)
    with pytest.raises(DataError) as caught:
        curation(raw).check()
    assert message in str(caught.value)


def test_no_input_and_shards_that_are_not_their_manifests(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        curation(tmp_path / "none").check()
    with pytest.raises(DataError, match=r"no \.jsonl file"):
        curation(write(tmp_path / "empty" / "a.csv", []).parent).check()
    with pytest.raises(DataError, match="no row in it"):
        curation(write(tmp_path / "zero.jsonl", [])).check()
    (raw / "manifest.json").write_text('{"files": {"shard-00001.jsonl": {"num_rows": 9, "hash": "x"}}}')
    with pytest.raises(DataError, match=r"shard-00001.jsonl: does not match the manifest.json beside it"):
        curation(raw).check()


def test_an_unreadable_shard(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_ = Path.open

    def denied(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == "shard-00001.jsonl":
            raise PermissionError(13, "Permission denied")
        return open_(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(DataError, match=r"shard-00001.jsonl: cannot be read: Permission denied"):
        curation(raw).check()


def test_a_file_that_changes_meanwhile(raw: Path, tmp_path: Path) -> None:
    class Changes(Completeness):
        def decide_row(self, row: Any) -> Decision:
            write(raw / "shard-00001.jsonl", [ROWS[4], ROWS[3]])
            return super().decide_row(row)

    with pytest.raises(DataError, match="was changed while it was read"):
        run_curation(curation(raw, filters=[Changes(), Behaviour()]), tmp_path / "out")
    assert not (tmp_path / "out" / "replay.jsonl").exists()


def test_a_full_disk(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    write_ = os.write

    def full(descriptor: int, data: Any) -> int:
        if b'"values"' in bytes(data):
            write_(descriptor, bytes(data)[:10])
            raise OSError(28, "No space left on device")
        return write_(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(RunFolderError, match=r"verdicts\..*\.log cannot be written: No space left on device"):
            run_curation(curation(raw), out)
    assert not (out / "replay.jsonl").exists()
    run_curation(curation(raw), out)
    run_curation(curation(raw), tmp_path / "whole")
    assert digests(out) == digests(tmp_path / "whole")


def test_a_full_disk_at_the_end_leaves_earlier_files(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    one = curation(raw)
    run_curation(one, out)
    before = digests(out)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    from grsap.curation.ledger import Ledger

    with pytest.raises(RunFolderError, match="No space left on device"):
        write_rows(out, Ledger(one.raw), [])
    assert digests(out) == before
    assert [path.name for path in out.iterdir() if path.name.endswith(".tmp")] == []


def test_no_row_is_kept(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.jsonl", [row("a", None), row("b", response="")])
    with pytest.raises(DataError, match=r"no row is kept \(null_text 2\)"):
        run_curation(curation(raw), tmp_path / "out")
    assert len(read(tmp_path / "out" / "rejected.jsonl")) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filters": []}, "filters is empty"),
        ({"judge_batch_size": 0}, "judge_batch_size is 0"),
    ],
)
def test_settings(settings: dict[str, Any], message: str, raw: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        curation(raw, **settings).check()


def test_filters_that_lack_something(raw: Path) -> None:
    with pytest.raises(ConfigError, match=r"filters\[0\] \(Harmlessness\) needs judge, which is not set"):
        Curation(str(raw), [Harmlessness()]).check()
    with pytest.raises(ConfigError, match=r"filters\[0\] \(Harmlessness\): refusal_matcher does not label harm"):
        Curation(str(raw), [Harmlessness()], judge=RefusalMatcher()).check()
    with pytest.raises(ConfigError, match=r"filters\[0\] \(Revision\) is before any Harmlessness"):
        Curation(str(raw), [Revision(None), Harmlessness()], judge=WordJudge()).check()  # type: ignore[arg-type]


class Wrong(RowFilter):
    def __init__(self, make: Callable[[], Decision]) -> None:
        self._make = make

    def decide_row(self, row: Any) -> Decision:
        return self._make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Decision(False),
        lambda: Decision(reason="why"),
        lambda: Decision(scores={"a": float("inf")}),
        lambda: Decision(labels={"mood": "reason"}),
        lambda: Decision(labels={"behaviour": "reason"}),
    ],
)
def test_an_invalid_decision(make: Callable[[], Decision], raw: Path, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"reason|score"):
        run_curation(curation(raw, filters=[Wrong(make)]), tmp_path / "out")


def test_results_of_other_rows_are_not_taken(tmp_path: Path) -> None:
    first = KeptResults(tmp_path, "a", {"input": "1"})
    first.add_piece([0], [5])
    first.close()
    assert list(KeptResults(tmp_path, "a", {"input": "2"}).pieces()) == []
    assert list(KeptResults(tmp_path, "a", {"input": "1"}).pieces()) == [([0], [5])]
    with first.path.open("a") as file:
        file.write((checked_line({"rows": [1], "values": []}) + checked_line({"rows": [], "values": []})).decode())
    with pytest.raises(DataError, match=r"a\..*\.log, line 3: not a piece"):
        list(KeptResults(tmp_path, "a", {"input": "1"}).pieces())
