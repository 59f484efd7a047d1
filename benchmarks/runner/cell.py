"""A cell: what is run, what must agree, and which figures come of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from grsap.errors import ConfigError

CELLS = Path(__file__).parents[1] / "cells"
PROGRAMS = {"grsap_fit": None, "loop": None, "trl_sft": "trl", "unsloth_sft": "unsloth", "command": None}
"""A side's program, and the environment it needs; None for grsap's own."""

Suite = Literal["quick", "cpu", "gpu"]


@dataclass(frozen=True)
class Job:
    """What a side trains, and on what. Every side of a cell has the same, but for what it sets itself.

    Args:
        model: `embedded:NAME`, a folder, or `random:NAME` for random weights of a shape in `models.py`.
        device: cpu or cuda.
        num_rows: rows of the file; all are seen once.
        num_replay_rows: how many of them, the last of the file, are replay rows.
        length_scale: times the lengths of GSM8K.
        rows_per_step: rows of an optimizer step.
        max_tokens_per_micro_batch: grsap's.
        rows_per_forward: of TRL and its kin; by default the whole step. The loop makes one forward pass a step.
        max_length: tokens at which a row is cut; rows are shorter.
        skipped_steps: first steps that the steady state leaves out.
        rows_between_checks: of a run whose checks cost `check_share`; 0 for none.
        lora_r: rank of the adapter on all linear layers; alpha is twice the rank.
        lr: of AdamW, constant, without weight decay.
        seed: of rows and adapter.
    """

    model: str = "embedded:smollm2-135m-instruct"
    device: str = "cpu"
    num_rows: int = 24
    num_replay_rows: int = 0
    length_scale: float = 1.0
    rows_per_step: int = 8
    max_tokens_per_micro_batch: int = 4096
    rows_per_forward: int | None = None
    max_length: int = 1024
    skipped_steps: int = 1
    rows_between_checks: int = 0
    lora_r: int = 16
    lr: float = 2e-4
    seed: int = 0


@dataclass(frozen=True)
class Side:
    """One of the programs that are held against each other.

    Args:
        program: a file of `benchmarks/sides`, or `command`.
        config: settings of the program: of `grsap fit`, of TRL's SFTConfig, or switches of the loop.
        job: what it sets otherwise than the cell.
        command: words of a command; `{python}`, `{out}` (a JSON file it writes) and `{folder}` are filled in.
        x: its place on the axis of an exponent.
        environment: another than its program's, a name of `benchmarks/requirements`.
    """

    program: str
    config: dict[str, Any] = field(default_factory=dict)
    job: dict[str, Any] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    x: float | None = None
    environment: str | None = None


@dataclass(frozen=True)
class Figure:
    """A number that comes of the sides' records, one for each alternation.

    Args:
        of: the side, or the sides of an exponent.
        by: the value of its record, with dots for what lies deeper.
        over: the side that it is divided by.
        minus: the side whose `minus_by` is taken away.
        minus_by: by default `by`.
        divided_by: another value of the same record that it is divided by.
        target: {at_least: number} or {at_most: number}.
        name: as it stands in the table.
    """

    of: str | list[str]
    by: str
    over: str | None = None
    minus: str | None = None
    minus_by: str | None = None
    divided_by: str | None = None
    target: dict[Literal["at_least", "at_most"], float] | None = None
    name: str = ""


@dataclass(frozen=True)
class Cell:
    """What one YAML file says.

    Args:
        name: of the file.
        title: as it stands in the table.
        sides: by name, in the order of the first alternation.
        figures: what is told.
        suite: `quick` (also part of `cpu`), `cpu` or `gpu`.
        pairs: alternations of the sides.
        threads: of each process.
        same_rows: sides must have seen the same rows at each `step`, in the whole `run`, or need `not`.
        loss_tolerance: relative, of the mean losses of a step; null compares none. Step 1, before any update, must
            agree ten times closer.
        job: see `Job`.
        note: stands below the table.
    """

    name: str
    title: str
    sides: dict[str, Side]
    figures: list[Figure]
    suite: Suite = "cpu"
    pairs: int = 5
    threads: int = 2
    same_rows: Literal["step", "run", "not"] = "step"
    loss_tolerance: float | None = 0.02
    job: Job = field(default_factory=Job)
    note: str = ""

    def side_job(self, side: str) -> Job:
        """What one side trains."""
        values = {each.name: getattr(self.job, each.name) for each in fields(Job)}
        return Job(**values | self.sides[side].job)


def load_cell(path: Path) -> Cell:
    """Read a cell.

    Raises:
        ConfigError: names the file and what is wrong in it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content["sides"] = {name: _made(Side, each) for name, each in content["sides"].items()}
        content["figures"] = [_made(Figure, each) for each in content["figures"]]
        content["job"] = _made(Job, content.get("job") or {})
        cell: Cell = _made(Cell, {"name": path.stem, **content})
        for name in cell.sides:
            cell.side_job(name)
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path}: {error}", "See benchmarks/runner/cell.py for what a cell may say") from error
    _check(cell, path)
    return cell


def all_cells() -> list[Cell]:
    """Every cell, by suite and name."""
    cells = [load_cell(path) for path in CELLS.rglob("*.yaml")]
    return sorted(cells, key=lambda cell: (("quick", "cpu", "gpu").index(cell.suite), cell.name))


def load_cells(names: list[str]) -> list[Cell]:
    """The cells that a command line names: cells, or suites (`quick`, `cpu`, `gpu`).

    Raises:
        ConfigError: there is no such cell.
    """
    every = all_cells()
    known = {cell.name: [cell] for cell in every}
    for suite, members in {"quick": {"quick"}, "cpu": {"quick", "cpu"}, "gpu": {"gpu"}}.items():
        known[suite] = [cell for cell in every if cell.suite in members]
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no cell {name}", f"There are {', '.join(known)}")
    wanted = {cell.name for name in names for cell in known[name]}
    return [cell for cell in every if cell.name in wanted]


def _made(kind: type[Any], content: dict[str, Any]) -> Any:
    unknown = sorted(set(content) - {each.name for each in fields(kind)})
    if unknown:
        raise TypeError(f"{kind.__name__} has no {', '.join(unknown)}")
    return kind(**content)


def _check(cell: Cell, path: Path) -> None:
    for name, side in cell.sides.items():
        if side.program not in PROGRAMS:
            raise ConfigError(
                f"{path}: side {name} has the program {side.program}", f"Programs are {', '.join(PROGRAMS)}"
            )
        if (side.program == "command") != bool(side.command):
            raise ConfigError(f"{path}: side {name}", "Give `command` with the program `command`, and only then")
    for figure in cell.figures:
        named = figure.of if isinstance(figure.of, list) else [figure.of]
        missing = [name for name in (*named, figure.over, figure.minus) if name and name not in cell.sides]
        if missing:
            raise ConfigError(f"{path}: a figure names {missing[0]}", f"Sides are {', '.join(cell.sides)}")
        if isinstance(figure.of, list) and any(cell.sides[name].x is None for name in named):
            raise ConfigError(f"{path}: the sides of an exponent have no `x`", "Give each its place on the axis")
