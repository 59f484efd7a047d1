"""The script that measures micro-batches on a GPU, tried out on a processor with a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_step


def test_variants_run_in_order_with_the_attention_they_name(
    tmp_path: Path, tiny_base_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_step, "model_folder", lambda path, cache: tiny_base_path)
    out = tmp_path / "gpu_step.json"
    words = ["gpu_step", "--shape", "tiny", "--device", "cpu", "--tokens", "700", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    assert gpu_step.main() == 0
    told = json.loads(out.read_text())
    assert told["command"] == f"python -m benchmarks.gpu_step {' '.join(words[1:])}"
    assert [(each["name"], each["by_row"]) for each in told["results"]] == [
        ("LoRA", True),
        ("LoRA", True),
        ("LoRA, attention under a mask", False),
    ]
    for each in told["results"]:
        timed = each["num_micro_batches"] - gpu_step.WARM_UP
        assert each["tokens"] == 700
        assert 640 * timed < each["num_tokens"] <= 700 * timed
    assert capsys.readouterr().out.count("| LoRA") == 3


def test_packs_hold_whole_rows_up_to_the_limit() -> None:
    ((batch, total),) = gpu_step.packs(1000, 1, torch.device("cpu"))
    assert batch.input_ids.shape == (1, total)
    assert 1000 - gpu_step.SHORTEST < total <= 1000
    assert sum(span.length for span in batch.spans) == total
    assert len(batch.target_ids) == sum(span.length - span.length // 3 for span in batch.spans)
