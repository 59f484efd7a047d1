"""Runs the sides of a cell in turn, each in a fresh process with pinned threads."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.runner.cell import PROGRAMS, Cell
from benchmarks.runner.environments import ROOT, python_of
from benchmarks.runner.figures import check_agreement
from benchmarks.runner.journal import Journal
from benchmarks.runner.machine import share_since, ticks, wait_until_quiet
from benchmarks.runner.models import model_folder
from benchmarks.runner.rows import make_rows, write_rows
from grsap.errors import GrsapError

SIDES = ROOT / "benchmarks" / "sides"
MODELS = ROOT / "runs" / "benchmarks" / "models"
TINY: dict[str, Any] = {"model": "random:tiny", "device": "cpu", "num_rows": 8, "rows_per_step": 4}


@dataclass(frozen=True)
class Options:
    """How cells are run.

    Args:
        pairs: instead of the cell's.
        tiny: a tiny random model, on the processor, for two steps and one alternation: to see that all runs.
        model: instead of the cell's.
        even_if_loaded: do not refuse a loaded machine.
    """

    pairs: int | None = None
    tiny: bool = False
    model: str | None = None
    even_if_loaded: bool = False


class SideFailedError(GrsapError):
    """A side's process failed."""


def run_cell(cell: Cell, options: Options, journal: Journal | None = None) -> list[dict[str, dict[str, Any]]]:
    """All alternations: for each, side -> record. Those in the journal are not measured again.

    Raises:
        LoadedMachineError: others compute here.
        SideFailedError: a process failed; its last lines are in the message.
        SidesDifferError: the sides did not do the same.
    """
    pythons = {name: python_of(side.environment or PROGRAMS[side.program]) for name, side in cell.sides.items()}
    pairs = 1 if options.tiny else options.pairs or cell.pairs
    alternations = [] if journal is None else journal.alternations[:pairs]
    if alternations:
        print(f"  {len(alternations)} of {pairs} alternations were measured before", file=sys.stderr, flush=True)
    for pair in range(len(alternations), pairs):
        records = {}
        for name in turn(list(cell.sides), pair):
            found = wait_until_quiet(options.even_if_loaded)
            record = run_side(cell, name, pythons[name], options)
            records[name] = {**record, "before": found}
            print(f"  {cell.name} {pair + 1}/{pairs} {name}: {_told(record)}", file=sys.stderr, flush=True)
        ordered = {name: records[name] for name in cell.sides}
        check_agreement(cell, ordered)
        if journal is not None:
            journal.add(ordered)
        alternations.append(ordered)
    return alternations


def turn(names: list[str], pair: int) -> list[str]:
    """The order of the sides in an alternation: every other one backwards, and each pair begins one later."""
    start = pair // 2 % len(names)
    order = [*names[start:], *names[:start]]
    return order if pair % 2 == 0 else order[::-1]


def run_side(cell: Cell, name: str, python: str, options: Options) -> dict[str, Any]:
    """Run one side once, in a folder of its own that is removed afterwards; its record."""
    side = cell.sides[name]
    with tempfile.TemporaryDirectory(prefix="grsap-bench-") as place:
        folder = Path(place)
        out = folder / "record.json"
        if side.program == "command":
            fill = {"{python}": python, "{out}": str(out), "{folder}": place}
            command = [_filled(word, fill) for word in side.command]
        else:
            job = job_of(cell, name, folder, options)
            (folder / "job.json").write_text(json.dumps(job))
            command = [python, str(SIDES / f"{side.program}.py"), str(folder / "job.json")]
        timed = _run(command, _environment(folder, cell.threads), cell, name)
        written = json.loads(out.read_text()) if out.is_file() else None
        if side.program == "command":
            return timed if written is None else {**timed, "output": written}
        if written is None:
            raise SideFailedError(f"{cell.name}: side {name} wrote no record.")
        of_process = {"process_seconds": timed["seconds"], "others_busy_share": timed["others_busy_share"]}
        return {**written, **of_process, "mfu": _mfu(written)}


def job_of(cell: Cell, name: str, folder: Path, options: Options) -> dict[str, Any]:
    """What a side's program is told; its rows are written into `folder`."""
    import torch

    from grsap.models.compute import resolve_dtype

    job = cell.side_job(name)
    if options.tiny:
        job = replace(job, **TINY, num_replay_rows=min(job.num_replay_rows, 2))
        job = replace(job, rows_per_forward=job.rows_per_forward and 2)
    job = replace(job, model=options.model or job.model)
    write_rows(folder, make_rows(job.num_rows, job.seed, job.length_scale), job.num_replay_rows)
    dtype = resolve_dtype("auto", torch.device(job.device))
    return {
        **asdict(job),
        "model": str(model_folder(job.model, MODELS)),
        "dtype": str(dtype).removeprefix("torch."),
        "accelerator": "gpu" if job.device == "cuda" else "cpu",
        "chat_template": str(SIDES / "chat_template.jinja"),
        "folder": str(folder),
        "out": str(folder / "record.json"),
        "config": cell.sides[name].config,
    }


def _environment(folder: Path, threads: int) -> dict[str, str]:
    """Pinned threads, no hub, and an empty cache of compiled code: compile time counts. Python keeps its bytecode."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    pinned = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return {
        **inherited,
        **pinned,
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "BENCH_STARTED": repr(time.monotonic()),
    }


def _run(command: list[str], environment: Mapping[str, str], cell: Cell, name: str) -> dict[str, Any]:
    """Seconds and peak memory of a process."""
    log = tempfile.TemporaryFile()  # noqa: SIM115
    start, before = time.monotonic(), ticks()
    process = subprocess.Popen(command, env=dict(environment), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:  # the runner is stopped: a side that went on would disturb whatever is measured next
        process.kill()
        process.wait()
        raise
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    log.seek(0)
    text = log.read().decode(errors="replace")
    log.close()
    if process.returncode:
        tail = "\n".join(text.splitlines()[-25:])
        raise SideFailedError(
            f"{cell.name}: side {name} ended with {process.returncode}: {shlex.join(command)}\n{tail}"
        )
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_bytes": usage.ru_maxrss * 1024,
        "others_busy_share": share_since(before, cpu_seconds),
    }


def _filled(word: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        word = word.replace(key, value)
    return word


H200_FLOPS = 989e12
"""bf16, dense, of an H100 or H200. Their peak with sparsity is twice that, and not what matrices here reach."""


def _mfu(record: Mapping[str, Any]) -> float:
    """Model FLOPs utilisation of an H100 or H200: LoRA takes 4 N operations a token."""
    return 4.0 * record["matmul_parameters"] * record["tokens_per_s"] / H200_FLOPS


def _told(record: Mapping[str, Any]) -> str:
    others = record["others_busy_share"]
    disturbed = f" (others took {others:.0%} of the processors meanwhile)" if others and others > 0.1 else ""
    if "tokens_per_s" not in record:
        return f"{record['seconds']:.2f} s{disturbed}"
    return (
        f"{record['tokens_per_s']:.0f} tok/s, {record['seconds']:.1f} s, {record['peak_bytes'] / 2**30:.2f} GB, "
        f"losses {record['losses'][0]:.4f} to {record['losses'][-1]:.4f}{disturbed}"
    )
