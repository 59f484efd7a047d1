"""What libraries say of themselves is kept off the console, but never what they say of weights that did not load."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest

from grsap.commands import quiet

ABOUT_WEIGHTS = {
    "peft.peft_model": "Found missing adapter keys while loading the checkpoint: ['base_model.model.q_proj']",
    "peft.tuners.tuners_utils": "The following rank_pattern keys did not match any targeted module and were ignored",
    "peft.tuners.merging": "Input and output embeddings are no longer tied after merging.",
    "peft.mapping": "This may lead to reinitialization of the adapter weights during loading.",
    "peft.utils.save_and_load": "Adapter 'default': 2 LoRA tensor(s) have invalid shape: lora_A",
    "peft.tuners.lora.model": "Model with `tie_word_embeddings=True` and the tied_target_modules=['lm_head']",
    "transformers.modeling_utils": "Some weights of the model checkpoint were not used: unexpected keys",
    "transformers.integrations": "Some weights of LlamaForCausalLM were not initialized from the model checkpoint",
    "transformers.models.llama": "Some weights are newly initialized because the shapes did not match",
    "bitsandbytes.nn": "could not find the quantization state of a weight: size mismatch",
}
ADVICE = {
    "lightning.pytorch.trainer": "The 'train_dataloader' does not have many workers which may be a bottleneck.",
    "torch.utils.checkpoint": "None of the inputs have requires_grad=True.",
    "transformers.generation": "You have set `use_cache=True`, which is slower.",
    "peft.utils": "Consider another setting.",
}


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Filters and levels are a process's own."""
    levels = {name: logging.getLogger(name).level for name in quiet._TALKATIVE}
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with warnings.catch_warnings():
        yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def shown(said: dict[str, str]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        quiet.quieten()
        for module, message in said.items():
            warnings.warn_explicit(message, UserWarning, f"{module}.py", 1, module=module, registry={})
    return [str(each.message) for each in caught]


def test_warnings_about_weights_are_shown_and_advice_is_not() -> None:
    assert shown({**ADVICE, **ABOUT_WEIGHTS}) == list(ABOUT_WEIGHTS.values())


def test_what_transformers_and_peft_log_of_weights_is_shown() -> None:
    quiet.quieten()
    for name in ("transformers.modeling_utils", "peft.tuners.tuners_utils", "safetensors", "torch"):
        assert logging.getLogger(name).isEnabledFor(logging.WARNING), name
    for name in quiet._TALKATIVE:
        assert logging.getLogger(name).isEnabledFor(logging.ERROR)
