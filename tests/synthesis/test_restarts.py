"""A second call on a folder: it does nothing, completes the work, or refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.synthesis.conftest import (
    Died,
    RuleGenerator,
    Rules,
    digest,
    expected_ids,
    manifest_of,
    query_or_answer,
    rows_of,
    synthesis,
)

from grsap.errors import DataError, RunFolderError
from grsap.synthesis import AssistantPrefill
from grsap.synthesis.running import run_synthesis


@pytest.mark.parametrize("backwards", [False, True])
def test_a_second_call_does_nothing(backwards: bool, rules: Rules, tmp_path: Path) -> None:
    run_synthesis(synthesis(rules(backwards=backwards), 3), tmp_path)
    before = digest(tmp_path), (tmp_path / "attempts.log").read_bytes(), manifest_of(tmp_path)["seconds"]
    again = rules()
    run_synthesis(synthesis(again, 3), tmp_path)
    assert again.asked == []
    after = digest(tmp_path), (tmp_path / "attempts.log").read_bytes(), manifest_of(tmp_path)["seconds"]
    assert after[:2] == before[:2]
    assert after[2] == pytest.approx(before[2], abs=0.2)


def test_a_restart_with_other_weights_or_domains_is_refused(rules: Rules, tmp_path: Path) -> None:
    domains = tmp_path / "domains.yaml"
    domains.write_text("- {name: theft, definition: taking}\n- {name: weapons, definition: arms}\n")

    def again(revision: str, dies_at: int | None = None) -> RuleGenerator:
        generator = rules(dies_at=dies_at)
        generator.weights_revision = lambda: revision  # type: ignore[method-assign]
        return generator

    with pytest.raises(Died):
        run_synthesis(synthesis(again("1", 3), 3, domains=str(domains)), tmp_path / "out")
    other = again("2")
    with pytest.raises(RunFolderError, match="contains work with another weights_revision: 1; it is now 2"):
        run_synthesis(synthesis(other, 3, domains=str(domains)), tmp_path / "out")
    assert other.asked == []
    domains.write_text("- {name: theft, definition: taking away}\n- {name: weapons, definition: arms}\n")
    with pytest.raises(RunFolderError, match="another domains_hash"):
        run_synthesis(synthesis(again("1"), 3, domains=str(domains)), tmp_path / "out")


@pytest.mark.parametrize("moment", range(13))
def test_a_restart_continues_where_it_was(moment: int, rules: Rules, tmp_path: Path) -> None:
    """Seven query attempts, one of them unusable, and six answers: killed before each."""

    def rule(row_id: str, call: int, seed: int) -> str:
        if row_id.startswith("theft-0"):  # its first query is unusable; then it is like the others
            return '"' if call == 0 else query_or_answer(row_id, call - 1, seed)
        return query_or_answer(row_id, call, seed)

    elicitation = AssistantPrefill(openings=[""])
    whole = rules(rule)
    run_synthesis(synthesis(whole, 3, elicitation=elicitation), tmp_path / "whole")
    first = rules(rule, dies_at=moment)
    assert len(whole.asked) == 13
    with pytest.raises(Died):
        run_synthesis(synthesis(first, 3, elicitation=elicitation), tmp_path / "killed")
    second = rules(rule, backwards=True)
    second.calls = dict(first.calls)
    run_synthesis(synthesis(second, 3, elicitation=elicitation), tmp_path / "killed")
    assert sorted(first.asked + second.asked) == sorted(whole.asked)
    rows, killed = rows_of(tmp_path / "whole"), rows_of(tmp_path / "killed")
    assert sorted(killed, key=lambda row: row.id) == sorted(rows, key=lambda row: row.id)
    assert manifest_of(tmp_path / "killed")["counts"] == manifest_of(tmp_path / "whole")["counts"]


def test_a_half_written_line_is_redone(rules: Rules, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_synthesis(synthesis(rules(), 3), tmp_path)
    before = digest(tmp_path)
    shard = tmp_path / "shard-00000.jsonl"
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size - 20)
    length = len(shard.read_bytes().splitlines()[-1])
    capsys.readouterr()
    again = rules(lambda row_id, call, seed: query_or_answer(row_id, 1, seed))
    run_synthesis(synthesis(again, 3), tmp_path)
    assert [row_id for row_id, _ in again.asked] == [expected_ids(3, "weapons")[-1]]
    assert digest(tmp_path) == before
    message = " ".join(capsys.readouterr().err.split())
    assert f"shard-00000.jsonl: removed an incomplete last entry of {length} bytes; it is redone" in message


def test_a_broken_line_in_the_middle_is_reported_and_nothing_lost(rules: Rules, tmp_path: Path) -> None:
    run_synthesis(synthesis(rules(), 3), tmp_path)
    shard = tmp_path / "shard-00000.jsonl"
    lines = shard.read_bytes().splitlines(keepends=True)
    lines[1] = b'{"broken\n'
    shard.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=r"shard-00000\.jsonl, line 2: not JSON"):
        run_synthesis(synthesis(rules(), 3), tmp_path)
    assert shard.read_bytes() == b"".join(lines)


def test_rows_that_no_attempt_made(rules: Rules, tmp_path: Path) -> None:
    run_synthesis(synthesis(rules(), 3), tmp_path)
    (tmp_path / "attempts.log").unlink()
    with pytest.raises(DataError, match=r"row theft-0-\w+ has no attempt in attempts\.log"):
        run_synthesis(synthesis(rules(), 3), tmp_path)


def test_a_full_disk_is_reported_and_rows_stay(rules: Rules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    write = os.write

    def full(descriptor: int, data: Any) -> int:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name.endswith(".jsonl") and os.fstat(descriptor).st_size > 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(RunFolderError, match=r"shard-00000\.jsonl cannot be written: No space left on device"):
            run_synthesis(synthesis(rules(), 3), tmp_path)
    assert len(rows_of(tmp_path)) == 2
    assert manifest_of(tmp_path)["status"] == "unfinished"
    run_synthesis(synthesis(rules(lambda row_id, call, seed: query_or_answer(row_id, 1, seed)), 3), tmp_path)
    assert {row.id for row in rows_of(tmp_path)} == set(expected_ids(3, "theft", "weapons"))
