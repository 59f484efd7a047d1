"""The rows of a job, and their tokens, for sides other than grsap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_rows(job: dict[str, Any]) -> list[dict[str, str]]:
    """Prompt and response of each row, in file order."""
    text = (Path(job["folder"]) / "task.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def load_tokenizer(job: dict[str, Any]) -> Any:
    """The model's tokenizer with the chat template that all sides use."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    tokenizer.chat_template = Path(job["chat_template"]).read_text(encoding="utf-8")
    return tokenizer


def load_with_adapter(job: dict[str, Any]) -> Any:
    """The base with the adapter that grsap would put on it: same settings, same seed, same generator."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        job["model"],
        dtype=getattr(torch, job["dtype"]),
        attn_implementation="sdpa",
        device_map={"": job["device"]},
    )
    model.requires_grad_(False)
    config = LoraConfig(
        r=job["lora_r"],
        lora_alpha=2 * job["lora_r"],
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(job["seed"])
    return get_peft_model(model, config)
