"""What libraries say of themselves is kept off the console, but never what they say of weights that did not load."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

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


def said_by(name: str, message: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, name):
        logging.getLogger(name).warning(message, "why")
    return caplog.messages


def test_lines_about_the_speed_of_kernels_and_of_gguf_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    loggers = [logging.getLogger(name) for name in quiet._KNOWN_LINES]
    before = [list(logger.filters) for logger in loggers]
    try:
        quiet.leave_out_known_lines()
        for name, line in quiet._KNOWN_LINES.items():
            assert said_by(name, f"{line}: %s", caplog) == []
            assert said_by(name, "Some weights were not initialized: %s", caplog) != []
    finally:
        for logger, filters in zip(loggers, before, strict=True):
            logger.filters[:] = filters


@pytest.mark.parametrize(
    ("module", "line"),
    [("bitsandbytes.backends.cpu.ops", "Failed to load CPU"), ("transformers.quantizers.quantizer_gguf", "Loading a")],
)
def test_the_libraries_still_write_these_lines(module: str, line: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert quiet._KNOWN_LINES[module].startswith(line)
    assert quiet._KNOWN_LINES[module] in Path(str(spec.origin)).read_text()


def test_nothing_of_another_library_is_on_the_console_of_doctor() -> None:
    done = subprocess.run([sys.executable, "-m", "grsap", "doctor"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith("grsap ")
