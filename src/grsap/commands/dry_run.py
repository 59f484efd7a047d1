"""`grsap fit --dry-run`: show what a run would do, without loading weights or writing files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table

from grsap.callbacks.run_end import expected_end
from grsap.commands.masked_text import CLOSE, OPEN, TEXT_CLOSE, TEXT_OPEN, masked_rows, readable, render
from grsap.commands.settings import RunSettings
from grsap.console import Console
from grsap.data import MixtureDataModule, StepBatch
from grsap.models.compute import logits_chunk_size
from grsap.models.memory import MemoryEstimate, MemoryFactors, estimate_memory
from grsap.models.planned import check_model, planned_model
from grsap.text.collation import SOURCES
from grsap.training.run_length import limited_steps, planned_steps
from grsap.training.settings_checks import check_run

MAX_STEPS_MEASURED = 200
"""Steps over which the packing is measured, at most."""

MAX_ROWS_SHOWN = 4
"""Rows of the first step shown of each source, at most."""


@dataclass(frozen=True)
class Packing:
    """How well micro-batches are filled, over the measured steps and all devices.

    Attributes:
        num_steps: measured steps.
        num_micro_batches: micro-batches in them.
        num_tokens: tokens without padding.
        num_positions: computed positions, including padding.
        capacity: token budget of a micro-batch.
        max_positions: positions of the largest micro-batch.
        max_targets: supervised tokens of the micro-batch that has most.
    """

    num_steps: int
    num_micro_batches: int
    num_tokens: int
    num_positions: int
    capacity: int
    max_positions: int
    max_targets: int

    @property
    def efficiency(self) -> float:
        """Tokens / computed positions, in [0, 1]."""
        return self.num_tokens / self.num_positions

    @property
    def fill(self) -> float:
        """Tokens / token budgets, in [0, 1]."""
        return self.num_tokens / (self.num_micro_batches * self.capacity)


def measure_packing(batches: Sequence[StepBatch], capacity: int) -> Packing:
    """Measure the micro-batches of some steps."""
    micro_batches = [each for batch in batches for each in batch.micro_batches]
    return Packing(
        num_steps=len({batch.step for batch in batches}),
        num_micro_batches=len(micro_batches),
        num_tokens=sum(each.num_tokens for each in micro_batches),
        num_positions=sum(each.input_ids.numel() for each in micro_batches),
        capacity=capacity,
        max_positions=max(each.input_ids.numel() for each in micro_batches),
        max_targets=max(each.target_ids.numel() for each in micro_batches),
    )


def dry_run(settings: RunSettings) -> int:
    """Tokenise, pack and print; return 0.

    Raises:
        UserError: as `fit` would raise for data, template and Trainer. Files of callbacks are not checked.
    """
    data: MixtureDataModule = settings.datamodule
    data.prepare_data()
    data.setup("fit")
    check_run(settings.model, data, settings.trainer)
    world_size = settings.trainer.world_size
    measured = range(min(data.steps_per_epoch, MAX_STEPS_MEASURED))
    batches = [data.step_batch(step, rank, world_size) for step in measured for rank in range(world_size)]
    packing = measure_packing(batches, data.batching.max_tokens_per_micro_batch)
    notes = check_model(settings.model.base, settings.model.lora)
    estimate = estimate_run_memory(settings.model, packing)

    console = Console(soft_wrap=True)
    print_sources(console, data)
    print_steps(console, settings, packing)
    print_memory(console, settings.model, estimate, notes)
    print_first_step(console, batches[:world_size], data)
    console.print("Dry run: no weights were loaded and nothing was written.", style="bold")
    return 0


def print_sources(console: Console, data: MixtureDataModule) -> None:
    """Print rows and tokens by source."""
    table = Table(title="Rows", title_justify="left", box=None, pad_edge=False)
    for name in ("source", "rows", "over length", "no target", "kept", "tokens", "supervised", "longest"):
        table.add_column(name, justify="left" if name == "source" else "right")
    for source, report in data.reports.items():
        counts = (
            report.num_rows,
            report.num_over_length,
            report.num_without_target,
            report.num_kept,
            report.num_tokens,
            report.num_targets,
            report.max_row_length,
        )
        table.add_row(source, *(f"{count:,}" for count in counts))
    console.print(table)
    console.print(f"Over-length rows (more than {data.encoding.max_length:,} tokens): {data.encoding.over_length}.")
    excluded = data.summary()["num_excluded_replay"]
    if excluded:
        reasons = ", ".join(f"{num:,} {reason}" for reason, num in excluded.items())
        console.print(f"Replay rows excluded before encoding: {reasons}.")
    console.print()


def print_steps(console: Console, settings: RunSettings, packing: Packing) -> None:
    """Print steps, share of replay and micro-batches."""
    data: MixtureDataModule = settings.datamodule
    summary = data.summary()
    total = planned_steps(settings.trainer, limited_steps(settings.trainer, data.steps_per_epoch))
    console.print("Steps", style="bold")
    console.print(
        f"  {'unbounded' if total is None else f'{total:,}'} optimizer steps; {data.steps_per_epoch:,} per epoch of"
        f" {data.schedule.num_rows:,} rows, {data.batching.global_batch_size} rows per step"
    )
    console.print(f"  {expected_end(settings.trainer, data.steps_per_epoch)}")
    console.print(
        f"  replay: {summary['replay_rows_per_epoch']:,} rows per epoch, {summary['replay_share']:.1%} of all rows"
    )
    for source, num in ({} if total is None else data.schedule.unseen_after(total)).items():
        if num:
            of_all = data.schedule.num_task if source == "task" else data.schedule.num_replay
            console.print(f"  {num:,} of {of_all:,} {source} rows are not seen in this run{data.why_unseen(source)}")
    console.print(
        f"  {packing.num_micro_batches / packing.num_steps:.1f} micro-batches per step on {settings.trainer.world_size}"
        f" device(s), of at most {packing.capacity:,} tokens each; measured over {packing.num_steps} steps"
    )
    console.print(
        f"  {packing.efficiency:.1%} of the computed positions hold a token; {packing.fill:.1%} of the token budget is"
        " used"
    )
    for shortfall in summary["shortfalls"]:
        console.print(f"  shortfall: {', '.join(f'{key} {value}' for key, value in shortfall.items())}")
    console.print()


def estimate_run_memory(module: Any, packing: Packing) -> MemoryEstimate:
    """Estimate the memory of the run on one device from the base's config and the shapes of trainable weights."""
    base = module.base
    config = base.load_config()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float32 if module.lora is None else base.dtype_on(device)
    factors = MemoryFactors(
        quantization=base.quantization,
        double_quantization=base.double_quantization,
        bytes_per_value=dtype.itemsize,
        gradient_checkpointing=base.gradient_checkpointing,
        max_tokens=packing.max_positions,
        max_targets=packing.max_targets,
        chunk_size=module.step_settings.chunk_size or logits_chunk_size(device),
    )
    return estimate_memory(planned_model(base, module.lora), config, factors)


def print_memory(console: Console, module: Any, estimate: MemoryEstimate, notes: Sequence[str]) -> None:
    """Print the parts of the memory estimate, and notes about the model."""
    console.print("Memory on one device", style="bold", end="")
    console.print(" (weights and trainable state are counted, activations are estimated)")
    for name, size in (
        (f"base weights, quantization {module.base.quantization}", estimate.weights),
        (f"{estimate.num_trainable:,} trainable parameters, gradients, optimizer", estimate.trainable),
        ("activations of the largest micro-batch", estimate.activations),
        ("total, without libraries", estimate.total),
    ):
        console.print(f"  {size / 2**30:8.2f} GiB  {name}")
    for note in notes:
        console.print(f"  {note}", markup=False)
    console.print()


def print_first_step(console: Console, batches: Sequence[StepBatch], data: MixtureDataModule) -> None:
    """Print rows of the first step with their mask."""
    tokenizer = data.base.tokenizer
    colour = console.color_system is not None
    how = "supervised tokens are green" if colour else f"supervised tokens are between {OPEN} and {CLOSE}"
    rows = [row for batch in batches for row in masked_rows(batch, readable(tokenizer))]
    console.print("First step", style="bold", end="")
    console.print(f": {len(rows)} rows; {how}")
    if any(TEXT_OPEN in piece for row in rows for piece, _ in row.pieces):
        console.print(f"Plain text that spells a special token is between {TEXT_OPEN} and {TEXT_CLOSE}.")
    for source in SOURCES:
        mine = [row for row in rows if row.source == source]
        for row in mine[:MAX_ROWS_SHOWN]:
            console.print(render(row, colour))
        if len(mine) > MAX_ROWS_SHOWN:
            console.print(f"... and {len(mine) - MAX_ROWS_SHOWN} more {source} rows\n")
