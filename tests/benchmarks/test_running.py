"""The runner itself: fresh processes in turn, pinned threads, a loaded machine, results and the table."""

from __future__ import annotations

import json
import os
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest
from benchmarks.__main__ import main
from benchmarks.runner import journal as journals
from benchmarks.runner import machine
from benchmarks.runner.cell import Cell, Figure, Job, Side, all_cells
from benchmarks.runner.environments import ROOT
from benchmarks.runner.execution import Options, SideFailedError, run_cell, turn
from benchmarks.runner.figures import SidesDifferError
from benchmarks.runner.journal import Journal
from benchmarks.runner.machine import busy_share
from benchmarks.runner.results import (
    BEGIN,
    END,
    README,
    RESULTS,
    comparison,
    number,
    read_results,
    result_of,
    table,
    write_result,
    write_table,
)
from benchmarks.runner.rows import make_rows, write_rows

from grsap.errors import ConfigError

TELL = (
    "import json, os; json.dump({{'threads': os.environ['OMP_NUM_THREADS'], 'value': {value}}}, open('{{out}}', 'w'))"
)


@pytest.fixture(autouse=True)
def _short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for each side is long for a test."""
    look = machine.busy_share
    monkeypatch.setattr(machine, "busy_share", lambda: look(0.01))


def telling(value: float) -> Side:
    return Side("command", command=["{python}", "-c", TELL.format(value=value)])


def two_sides(**changes: Any) -> Cell:
    figures = [Figure("a", "output.value", over="b", target={"at_least": 3.0}, name="ratio")]
    sides = {"a": telling(6.0), "b": telling(1.5)}
    return Cell(**{"name": "cell", "title": "A cell", "sides": sides, "figures": figures, "threads": 3, **changes})


def test_sides_run_in_changing_order() -> None:
    assert [turn(["a", "b"], pair) for pair in range(4)] == [["a", "b"], ["b", "a"], ["b", "a"], ["a", "b"]]
    orders = [turn(["a", "b", "c"], pair) for pair in range(6)]
    assert {order[0] for order in orders} == {order[-1] for order in orders} == {"a", "b", "c"}
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)


def test_a_cell_runs_and_is_kept_and_told(tmp_path: Path) -> None:
    cell = two_sides(pairs=2)
    alternations = run_cell(cell, Options(even_if_loaded=True))
    assert [each["a"]["output"] for each in alternations] == [{"threads": "3", "value": 6.0}] * 2
    assert all(0 < each["b"]["seconds"] < 600 and each["b"]["peak_bytes"] > 1e6 for each in alternations)
    result = result_of(cell, alternations, {"processor": "P", "cores": 2, "memory_gb": 24, "gpus": []}, "the command")
    assert result["figures"][0]["median"] == 4.0
    write_result(tmp_path, result)
    (tmp_path / "other.json").write_text("{}")  # a script's own result stays what it is
    kept = read_results(tmp_path)
    assert list(kept) == ["cell"]
    lines = table([cell, two_sides(name="later", title="Another")], kept).splitlines()
    assert "| A cell | ratio | **4** | 4 to 4 | at least 3 | yes | 2 |" in lines
    assert "| Another | ratio | not measured | | at least 3 | | |" in lines
    assert any(line.startswith("| cell |") and "`the command`" in line and "3 threads" in line for line in lines)


def test_a_side_that_fails_is_told_with_its_last_lines() -> None:
    broken = Side("command", command=["{python}", "-c", "raise SystemExit('no such thing')"])
    with pytest.raises(SideFailedError, match=r"(?s)side a ended with 1.*no such thing"):
        run_cell(two_sides(sides={"a": broken, "b": telling(1.0)}, pairs=1), Options(even_if_loaded=True))


def test_a_side_ends_with_its_runner(tmp_path: Path) -> None:
    """A signal that stops the runner, in the midst of a side that would run on for a minute."""
    noted = tmp_path / "pid"
    code = f"import os, pathlib, time; pathlib.Path({str(noted)!r}).write_text(str(os.getpid())); time.sleep(60)"

    def stop(number: int, frame: object) -> None:
        if noted.exists() and noted.read_text():
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_cell(
                two_sides(sides={"a": Side("command", command=["{python}", "-c", code])}), Options(even_if_loaded=True)
            )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


def test_busy_processors_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(machine, "STAT", stat)
    # user nice system idle iowait irq softirq steal, in ticks
    stat.write_text("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n")
    later = "cpu  130 10 60 940 55 0 0 5 0 0\n"
    monkeypatch.setattr(machine.time, "sleep", lambda seconds: stat.write_text(later))
    # Busy 30 + 10 + 10 + 5 of 200 ticks; waiting for a disk is not busy.
    assert busy_share() == pytest.approx(55 / 200)
    monkeypatch.setattr(machine, "STAT", tmp_path / "none")
    assert busy_share() is None


@pytest.mark.parametrize(
    ("busy", "average", "load", "problem"),
    [
        (0.5, 0.0, False, "50% of the processors were busy over a second"),
        (0.0, 9.0, True, "the load average is 9.00 on 4 cores"),
        (0.5, 9.0, True, "the load average is 9.00 on 4 cores and 50%"),
        (0.05, 9.0, False, None),  # the load that is left is our own
        (0.1, 2.0, True, None),
        (None, 0.0, True, None),
    ],
)
def test_a_loaded_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, busy: float | None, average: float, load: bool, problem: str | None
) -> None:
    monkeypatch.setattr(machine, "busy_share", lambda: busy)
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (average, 0.0, 0.0))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)
    found = {"load_average": average, "busy_share": busy}
    assert machine.check_quiet(load=load, even_if_loaded=True) == found
    if problem is None:
        assert machine.check_quiet(load=load) == found
    else:
        with pytest.raises(machine.LoadedMachineError, match="--even-if-loaded") as caught:
            machine.check_quiet(load=load)
        assert problem in str(caught.value)


def test_no_side_starts_on_a_loaded_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "busy_share", lambda: 0.9)
    monkeypatch.setattr(machine, "PATIENCE_S", -1.0)
    with pytest.raises(machine.LoadedMachineError):
        run_cell(two_sides(), Options())
    assert main(["startup", "--pairs", "1"]) == 2
    assert "90% of the processors" in capsys.readouterr().err


def test_a_cell_that_has_begun_waits_for_a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    shares, slept = iter([0.9, 0.5, 0.02]), []
    monkeypatch.setattr(machine, "busy_share", lambda: next(shares))
    monkeypatch.setattr(machine.time, "sleep", slept.append)
    assert machine.wait_until_quiet()["busy_share"] == 0.02
    assert slept == [5.0, 5.0]


def test_a_stopped_cell_goes_on_after_its_last_whole_alternation(tmp_path: Path) -> None:
    count = tmp_path / "count"
    words = f"open({str(count)!r}, 'a').write('x'); n = len(open({str(count)!r}).read()); 1 / (n - 4)"
    counting = Side("command", command=["{python}", "-c", f"import json; {words}; json.dump(n, open('{{out}}', 'w'))"])
    cell = two_sides(sides={"a": counting, "b": counting}, figures=[], pairs=3)
    how = Options(even_if_loaded=True)
    with pytest.raises(SideFailedError, match="ZeroDivisionError"):
        run_cell(cell, how, Journal(tmp_path, cell, {}))  # the fourth process fails: one whole alternation is there
    journal = Journal(tmp_path, cell, {})
    assert [[side["output"] for side in each.values()] for each in journal.alternations] == [[1, 2]]
    done = run_cell(cell, how, journal)
    # The second alternation is measured anew, and backwards like the first time.
    assert [[each["a"]["output"], each["b"]["output"]] for each in done] == [[1, 2], [6, 5], [8, 7]]
    assert len(Journal(tmp_path, cell, {}).alternations) == 3
    journal.finish()
    assert list(tmp_path.iterdir()) == [count]


@pytest.mark.parametrize(
    ("changes", "circumstances", "code", "taken"),
    [
        ({"pairs": 9, "note": "reworded"}, {}, "same", 1),
        ({"threads": 1}, {}, "same", 0),
        ({"job": Job(num_rows=99)}, {}, "same", 0),
        ({}, {"processor": "another"}, "same", 0),
        ({}, {}, "changed", 0),
    ],
)
def test_alternations_of_something_else_are_not_taken(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    circumstances: dict[str, Any],
    code: str,
    taken: int,
) -> None:
    monkeypatch.setattr(journals, "code_hash", lambda: "same")
    Journal(tmp_path, two_sides(), {}).add({"a": {}})
    monkeypatch.setattr(journals, "code_hash", lambda: code)
    assert len(Journal(tmp_path, two_sides(**changes), circumstances).alternations) == taken
    assert bool((tmp_path / "cell.jsonl").read_text()) == bool(taken)


def test_the_code_that_is_measured_is_in_the_journal(tmp_path: Path) -> None:
    hashes = []
    for name in ("src/grsap/a.py", "src/grsap/a.py", "benchmarks/sides/b.py", "README.md", "tests/c.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{len(hashes)}")
        hashes.append(journals.code_hash(tmp_path))
    assert len(set(hashes)) == 3
    assert hashes[2] == hashes[3] == hashes[4]


def test_the_table_goes_between_its_marks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_table([two_sides()], {}, readme)
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n\n| what |")
    assert text.endswith(f"\n\n{END}\nafter\n")
    assert "old" not in text
    write_table([two_sides()], {}, readme)
    assert readme.read_text() == text
    readme.write_text("no place")
    with pytest.raises(ConfigError, match="has no place for the table"):
        write_table([two_sides()], {}, readme)


def test_the_committed_table_is_that_of_the_committed_results(tmp_path: Path) -> None:
    copied = tmp_path / "README.md"
    copied.write_text(README.read_text())
    write_table(all_cells(), read_results(RESULTS), copied)
    assert copied.read_text() == README.read_text()


def test_a_result_is_held_against_the_committed_one() -> None:
    def result(low: float, high: float) -> dict[str, Any]:
        return {"figures": [{"name": "ratio", "median": (low + high) / 2, "min": low, "max": high}]}

    assert comparison(result(3.0, 3.2), result(3.1, 3.5)) == [
        "ratio: 3.1, committed 3.3 (3.1 to 3.5): the ranges overlap"
    ]
    assert comparison(result(2.0, 3.0), result(3.1, 3.5))[0].endswith("do NOT overlap")
    assert comparison(result(2.0, 3.0), None) == ["no committed result to compare with"]


def test_numbers_are_short() -> None:
    values = (0.98765, 3.14159, 59.96, 155.4, 8123.4)
    assert [number(each) for each in values] == ["0.988", "3.14", "59.96", "155.4", "8,123"]


def test_rows_have_the_lengths_they_should() -> None:
    rows = make_rows(2000, seed=0)
    questions = [len(row["prompt"].split()) for row in rows]
    answers = [len(row["response"].split()) for row in rows]
    # A log-normal with median m and spread 0.4 has the mean m x exp(0.08): 54 and 103, and a few words at the end.
    assert 54 <= statistics.mean(questions) <= 65
    assert 100 <= statistics.mean(answers) <= 110
    assert statistics.median(answers) == pytest.approx(95 + 2, abs=3)
    assert rows[:10] == make_rows(10, seed=0)
    assert rows[:10] != make_rows(10, seed=1)
    assert statistics.mean(len(row["response"].split()) for row in make_rows(200, 0, 4.0)) > 380


def test_rows_are_dealt_to_task_and_replay(tmp_path: Path) -> None:
    write_rows(tmp_path, make_rows(6, seed=0), num_replay=2)
    task = [json.loads(line) for line in (tmp_path / "task.jsonl").read_text().splitlines()]
    replay = [json.loads(line) for line in (tmp_path / "replay.jsonl").read_text().splitlines()]
    assert [row["id"] for row in task] == [f"row-{n:05d}" for n in range(4)]
    assert [row["id"] for row in replay] == ["row-00004", "row-00005"]
    assert [turn["role"] for turn in replay[0]["messages"]] == ["user", "assistant"]


def tiny_cell(**changes: Any) -> Cell:
    switches = {"packing": True, "supervised_only": True, "row_attention": True}
    sides = {"grsap": Side("grsap_fit"), "loop": Side("loop", switches)}
    figures = [Figure("grsap", "tokens_per_s", over="loop")]
    job = Job(num_rows=8, rows_per_step=4, skipped_steps=1, length_scale=0.5)
    return Cell(**{"name": "tiny", "title": "tiny", "sides": sides, "figures": figures, "job": job, **changes})


@pytest.mark.slow
def test_grsap_and_the_loop_do_the_same(tiny_base_path: Path) -> None:
    options = Options(pairs=1, model=str(tiny_base_path), even_if_loaded=True)
    (records,) = run_cell(tiny_cell(threads=1), options)
    ours, theirs = records["grsap"], records["loop"]
    assert ours["num_steps"] == theirs["num_steps"] == 2
    assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-3)
    assert ours["losses"][0] != ours["losses"][1]
    assert 0 < ours["steady_seconds"] < ours["seconds"] < ours["process_seconds"]
    assert ours["peak_bytes"] > 100e6
    assert ours["check_seconds"] == 0.0
    # 2 layers of (q, o: 32 x 32; k, v: 32 x 16; gate, up, down: 32 x 64), and the output layer of 512.
    layer = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64
    vocabulary = json.loads((tiny_base_path / "config.json").read_text())["vocab_size"]
    assert ours["matmul_parameters"] == theirs["matmul_parameters"] == 2 * layer + 32 * vocabulary
    other = Cell(**{**vars(tiny_cell()), "sides": {**tiny_cell().sides, "loop": Side("loop", job={"seed": 1})}})
    with pytest.raises(SidesDifferError, match="saw other rows"):
        run_cell(other, options)


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".venv-trl" / ".ready").is_file(), reason="`python -m benchmarks` makes .venv-trl")
@pytest.mark.parametrize("config", [{}, {"padding_free": True, "max_length": None}], ids=["padded", "padding_free"])
def test_grsap_and_trl_do_the_same(tiny_base_path: Path, config: dict[str, Any]) -> None:
    cell = tiny_cell(sides={"grsap": Side("grsap_fit"), "loop": Side("trl_sft", config)})
    (records,) = run_cell(cell, Options(pairs=1, model=str(tiny_base_path), even_if_loaded=True))
    assert records["grsap"]["rows"] == records["loop"]["rows"]
    assert records["loop"]["versions"]["trl"] == "1.16.0"
    assert records["loop"]["versions"]["torch"].split("+")[0] == records["grsap"]["versions"]["torch"].split("+")[0]
    assert records["loop"]["adapter_hash"] == records["grsap"]["adapter_hash"]
