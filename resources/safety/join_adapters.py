"""Put the aligned adapter into the package: what two recipes left behind, as one adapter.

Usage: python resources/safety/join_adapters.py runs/quickstart_align/adapter runs/quickstart_align_nf4/adapter

The second was trained on top of the first and changes a few layers only. B1 A1 + B2 A2 = [B1 B2] [A1; A2], so that
there the joint adapter has the sum of the two ranks, and elsewhere it is the first. Tensors are kept in bf16, half of
what training keeps; the base they are merged into is bf16 too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

TARGET = Path(__file__).parents[2] / "src" / "grsap" / "embedded" / "quickstart" / "aligned_adapter"


def join(first: Path, second: Path, target: Path) -> None:
    """Write the sum of two adapters.

    Raises:
        ValueError: lora_alpha / r differs; the factors would have to be scaled.
    """
    settings = json.loads((first / "adapter_config.json").read_text())
    added = json.loads((second / "adapter_config.json").read_text())
    if settings["lora_alpha"] / settings["r"] != added["lora_alpha"] / added["r"]:
        raise ValueError("lora_alpha / r of the two differ: train the second with the same quotient")
    weights, extra = (load_file(folder / "adapter_model.safetensors") for folder in (first, second))
    for name, value in extra.items():
        weights[name] = torch.cat([weights[name], value.to(weights[name].dtype)], dim=0 if "lora_A" in name else 1)
    layers = "|".join(str(layer) for layer in added["layers_to_transform"])
    where = rf"layers\.({layers})\..*"
    settings["rank_pattern"] = {where: settings["r"] + added["r"]}
    settings["alpha_pattern"] = {where: settings["lora_alpha"] + added["lora_alpha"]}
    settings["base_model_name_or_path"] = "HuggingFaceTB/SmolLM2-135M-Instruct"  # not a folder of this machine
    target.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.to(torch.bfloat16).contiguous() for name, value in weights.items()},
        target / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    (target / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    join(Path(sys.argv[1]), Path(sys.argv[2]), TARGET)
    print(f"{TARGET}: {(TARGET / 'adapter_model.safetensors').stat().st_size / 1e6:.1f} MB")
