"""A side: TRL's SFTTrainer. Runs in an environment of its own, which has no grsap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import Record, Row, matmul_parameters


def rows_of(inputs: dict[str, Any]) -> Iterator[Row]:
    """The rows of what the collator made: padded, or one sequence whose positions restart with each row."""
    ids, labels = inputs["input_ids"].tolist(), inputs["labels"].tolist()
    if "attention_mask" in inputs:
        for row, targets, length in zip(ids, labels, inputs["attention_mask"].sum(1).tolist(), strict=True):
            yield row[:length], [target != -100 for target in targets[:length]]
        return
    (positions,) = inputs["position_ids"].tolist()
    starts = [place for place, position in enumerate(positions) if position == 0]
    for start, stop in zip(starts, [*starts[1:], len(positions)], strict=True):
        yield ids[0][start:stop], [target != -100 for target in labels[0][start:stop]]


def settings_of(job: dict[str, Any]) -> dict[str, Any]:
    """Arguments of SFTConfig: its defaults, but for what all sides must share. The side's `config` goes over them."""
    rows_per_forward = job["rows_per_forward"] or job["rows_per_step"]
    settings = {
        "output_dir": str(Path(job["folder"]) / "run"),
        "per_device_train_batch_size": rows_per_forward,
        "gradient_accumulation_steps": job["rows_per_step"] // rows_per_forward,
        "num_train_epochs": 1,
        "learning_rate": job["lr"],
        "weight_decay": 0.0,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1.0,
        "max_length": job["max_length"],
        "bf16": job["dtype"] == "bfloat16",
        "gradient_checkpointing": False,  # grsap's default; TRL's own is a third slower
        "use_cpu": job["device"] == "cpu",
        "logging_steps": 1,  # as grsap logs
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": job["seed"],
    }
    return settings | job["config"]


def train(record: Record, **arguments: Any) -> None:
    """Train by SFTTrainer in the order of the file, note each step, and write what was noted.

    Args:
        record: of this side; its imports are done.
        arguments: of SFTTrainer.
    """
    from torch.utils.data import SequentialSampler
    from transformers import TrainerCallback
    from trl import SFTTrainer

    class Clock(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            record.step_begins()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            record.step_ends()

    class InOrder(SFTTrainer):
        def _get_train_sampler(self, *args: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            record.saw(rows_of(inputs))
            loss = super().training_step(model, inputs, *args, **kwargs)
            record.losses[-1] += float(loss)
            return loss

    trainer = InOrder(callbacks=[Clock()], **arguments)
    record.adapter(p for p in trainer.model.parameters() if p.requires_grad)
    trainer.train()
    trainer.save_model()
    record.write(matmul_parameters=matmul_parameters(trainer.model))


def main() -> None:
    record = Record.from_command_line()
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # noqa: F401  # the trainer too, before imports are done

    record.imports_done()
    from rows_file import load_tokenizer, load_with_adapter, read_rows

    job = record.job
    data = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": row["prompt"]}],
                "completion": [{"role": "assistant", "content": row["response"]}],
            }
            for row in read_rows(job)
        ]
    )
    train(
        record,
        model=load_with_adapter(job),
        args=SFTConfig(**settings_of(job)),
        train_dataset=data,
        processing_class=load_tokenizer(job),
    )


if __name__ == "__main__":
    main()
