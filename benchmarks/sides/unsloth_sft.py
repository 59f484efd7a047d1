"""A side: Unsloth's patched SFTTrainer, on a GPU, in an environment of its own. Steps are noted as in `trl_sft`."""

from __future__ import annotations

from typing import Any

from record import Record


def main() -> None:
    record = Record.from_command_line()
    import unsloth  # noqa: F401  # first, so that it can patch the others
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # noqa: F401  # the trainer too, before imports are done
    from unsloth import FastLanguageModel

    record.imports_done()
    from loop import encode
    from rows_file import load_tokenizer, read_rows
    from trl_sft import settings_of, train

    job = record.job
    options: dict[str, Any] = dict(job["config"])
    model, _ = FastLanguageModel.from_pretrained(
        job["model"], max_seq_length=job["max_length"], load_in_4bit=options.pop("load_in_4bit", False)
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=job["lora_r"],
        lora_alpha=2 * job["lora_r"],
        lora_dropout=0.0,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        use_gradient_checkpointing=options.pop("use_gradient_checkpointing", False),
        random_state=job["seed"],
    )
    tokenizer = load_tokenizer(job)

    rows = [encode(tokenizer, row) for row in read_rows(job)]
    columns = [
        {"input_ids": ids, "labels": [token if on else -100 for token, on in zip(ids, mask, strict=True)]}
        for ids, mask in rows
    ]
    train(
        record,
        model=model,
        args=SFTConfig(**settings_of(job | {"config": options})),
        train_dataset=Dataset.from_list(columns),
        processing_class=tokenizer,
    )


if __name__ == "__main__":
    main()
