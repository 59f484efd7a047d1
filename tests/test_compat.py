"""Each private name of another package still exists and does what grsap needs it for."""

from __future__ import annotations

import inspect
import re
import subprocess
from functools import partial
from typing import Any

import jinja2
import pytest
import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from transformers import LlamaConfig, LlamaForCausalLM, MambaForCausalLM, PreTrainedModel

from grsap import compat


def trainer_with(**settings: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(accelerator="cpu", devices=1, enable_model_summary=False, **quiet, **settings)


def test_each_function_says_which_name_it_uses_and_in_which_version() -> None:
    functions = [each for name, each in inspect.getmembers(compat, inspect.isfunction) if name[0] != "_"]
    assert len(functions) >= 18
    for function in functions:
        assert re.search(r"Upstream: [\s\S]+ \([A-Za-z0-9]+ \d+\.\d+[.\d]*\)\.", function.__doc__ or ""), (
            function.__name__
        )


def test_use_distributed_sampler_is_what_the_trainer_was_given() -> None:
    assert compat.uses_distributed_sampler(trainer_with(use_distributed_sampler=True)) is True
    assert compat.uses_distributed_sampler(trainer_with(use_distributed_sampler=False)) is False


def test_arguments_and_start_method_of_ddp() -> None:
    strategy = DDPStrategy(find_unused_parameters=True, start_method="fork")
    assert compat.ddp_arguments(strategy) == {"find_unused_parameters": True}
    assert compat.start_method(strategy) == "fork"
    one = SingleDeviceStrategy("cpu")
    assert compat.ddp_arguments(one) == {}
    assert compat.start_method(one) == "popen"


def test_child_processes_are_the_very_list_of_the_launcher() -> None:
    strategy = DDPStrategy()
    assert compat.child_processes(strategy) == []
    strategy._launcher = launcher = _SubprocessScriptLauncher(strategy.cluster_environment, 2, 1)  # type: ignore[arg-type]
    process: subprocess.Popen[bytes] = subprocess.Popen(["true"])
    process.wait()
    launcher.procs.append(process)
    compat.child_processes(strategy).clear()
    assert launcher.procs == []


def test_the_broadcast_of_a_signal_flag_is_a_method_that_is_called_before_each_batch() -> None:
    trainer = trainer_with()
    loop: Any = trainer.fit_loop.epoch_loop
    assert callable(loop._broadcast_sigterm_tensor)
    assert "self._broadcast_sigterm_tensor()" in inspect.getsource(type(loop).advance)
    compat.skip_signal_broadcast(trainer)
    assert loop._broadcast_sigterm_tensor() is None


def test_validation_checkpoint_and_module_of_a_running_trainer() -> None:
    seen: dict[str, Any] = {}

    class Module(BoringModel):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.setdefault("validates", []).append(compat.validates_after_step(self.trainer))
            seen["checkpoint"] = compat.dump_checkpoint(self.trainer)
            seen["trainer"] = compat.trainer_of(self)

    trainer = trainer_with(max_epochs=1, limit_train_batches=4, val_check_interval=2)
    trainer.fit(Module())
    assert seen["validates"] == [False, True, False, True]
    assert {"state_dict", "optimizer_states", "loops", "callbacks", "global_step"} <= set(seen["checkpoint"])
    assert seen["trainer"] is trainer
    assert compat.trainer_of(LightningModule()) is None


def test_a_command_line_gives_the_trainer_the_settings_of_its_hook(tmp_path: Any) -> None:
    @compat.with_trainer_settings
    class Line(LightningCLI):
        def trainer_settings(self, config: Any) -> dict[str, Any]:
            return {**config, "max_steps": 7}

    assert callable(LightningCLI._parse_ckpt_path)
    quiet = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    line = Line(BoringModel, run=False, args=[], save_config_callback=None, trainer_defaults=quiet)
    assert line.trainer.max_steps == 7


def test_the_keys_of_the_fit_loop_are_those_that_it_reads() -> None:
    trainer = trainer_with(max_epochs=3)
    written = trainer.fit_loop.state_dict()
    keys = set(written)
    assert set(written["epoch_loop.state_dict"]) == {"_batches_that_stepped"}
    state = compat.fit_loop_state(trainer, step=5, steps_per_epoch=4)
    assert set(state) == keys
    trainer.fit_loop.load_state_dict(state)
    assert trainer.fit_loop.epoch_loop._batches_that_stepped == 4
    assert trainer.fit_loop.epoch_progress.current.completed == 1
    assert trainer.fit_loop.epoch_loop.batch_progress.current.processed == 1


def test_which_architectures_carry_a_state_and_have_which_attention() -> None:
    for name in ("_is_stateful", "_supports_sdpa", "_supports_flash_attn"):
        assert hasattr(PreTrainedModel, name)
    assert compat.carries_state(MambaForCausalLM)
    assert not compat.carries_state(LlamaForCausalLM)
    assert not compat.carries_state(None)
    assert compat.supported_attention(LlamaForCausalLM) == {"sdpa": True, "flash_attention_2": True}
    assert compat.supported_attention(MambaForCausalLM) == {"sdpa": False, "flash_attention_2": False}


def test_the_attention_of_a_config() -> None:
    config = LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=9)
    config._attn_implementation = "eager"
    assert compat.attention_of(LlamaForCausalLM(config).config) == "eager"


def test_the_environment_of_chat_templates_has_what_templates_use() -> None:
    environment = compat.chat_template_environment()
    assert {"raise_exception", "strftime_now"} <= set(environment.globals)
    assert "tojson" in environment.filters


def test_a_template_is_rewritten_before_it_is_compiled() -> None:
    def shout(environment: jinja2.Environment, source: Any) -> Any:
        for data in source.find_all(jinja2.nodes.TemplateData):
            data.data = data.data.upper()
        return source

    @compat.rewriting_templates(shout)
    class Environment(ImmutableSandboxedEnvironment):
        pass

    assert Environment().from_string("hello {{ name }}").render(name="x") == "HELLO x"


def test_the_parsers_rules_are_functions_of_its_module() -> None:
    rules = compat.parser_rules()
    for name in ("adapt_typehints", "discard_init_args_on_class_path_change", "subclass_spec_as_namespace"):
        assert callable(getattr(rules, name))
    for called in ("adapt_typehints(", "discard_init_args_on_class_path_change("):
        assert inspect.getsource(rules).count(called) > 1  # called by its global name, so that replacing it works
    assert compat.import_class("torch.optim.SGD") is torch.optim.SGD
    with pytest.raises(ImportError):
        compat.import_class("no_such_module.Name")


def test_attention_on_a_processor_with_log_sums_and_its_gradient() -> None:
    forward, backward = compat.cpu_flash_attention()
    states = torch.randn(1, 2, 5, 8)
    output, sums = forward(states, states, states, 0.0, True, scale=0.5)
    expected = torch.nn.functional.scaled_dot_product_attention(states, states, states, is_causal=True, scale=0.5)
    torch.testing.assert_close(output, expected)
    gradients = backward(torch.ones_like(output), states, states, states, output, sums, 0.0, True, scale=0.5)
    assert [gradient.shape for gradient in gradients] == [states.shape] * 3


def test_products_by_onednn() -> None:
    found = compat.onednn_linear()
    if torch.backends.mkldnn.is_available():
        assert found is not None
        reorder, product = found
        weights, x = torch.randn(3, 4), torch.randn(2, 4)
        torch.testing.assert_close(product(x, reorder(weights, None), None, "none", [], ""), x @ weights.T)
    else:
        assert found is None


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(torch.optim.Adam, weight_decay=0.1),
        partial(torch.optim.AdamW, amsgrad=True),
        partial(torch.optim.SGD, momentum=0.9, weight_decay=0.1),
        torch.optim.Adagrad,
    ],
)
def test_a_fused_optimizer_skips_a_step_that_is_not_finite(optimizer: Any) -> None:
    weights = torch.nn.Parameter(torch.ones(4))
    made = optimizer([weights], lr=0.1, fused=True)
    assert compat.skips_non_finite_steps(made)
    for found_inf, gradient in ((None, 1.0), (torch.ones(()), float("nan")), (torch.ones(()), 1.0)):
        made.found_inf = found_inf
        weights.grad = torch.full((4,), gradient)
        made.step()
        if found_inf is None:
            kept = weights.detach().clone()
            assert not torch.equal(kept, torch.ones(4))
    assert torch.equal(weights, kept)
    made.found_inf = torch.zeros(())
    made.step()
    assert not torch.equal(weights, kept)
    assert not compat.skips_non_finite_steps(optimizer([weights], lr=0.1))
