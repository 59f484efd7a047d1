"""Private names of other packages that grsap depends on: each in one function, with the reason and its place upstream.

No other file may use one (`tests/test_architecture.py`), and `tests/test_compat.py` fails when one disappears. The
version in brackets is the one that was tested last. Imports are inside functions, so that importing this file is cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import subprocess
    from types import ModuleType

    import torch
    from jinja2 import Environment
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.strategies import Strategy

Class = TypeVar("Class", bound=type)

# Lightning.


def uses_distributed_sampler(trainer: Trainer) -> bool:
    """Return `trainer.use_distributed_sampler`, which the Trainer stores only in a private object.

    Upstream: `Trainer._accelerator_connector.use_distributed_sampler` (lightning 2.6.6).
    """
    return bool(trainer._accelerator_connector.use_distributed_sampler)


def ddp_arguments(strategy: Strategy) -> dict[str, Any]:
    """Return the arguments that the strategy passes to DistributedDataParallel; empty for other strategies.

    Upstream: `DDPStrategy._ddp_kwargs` (lightning 2.6.6).
    """
    from lightning.pytorch.strategies import DDPStrategy

    return dict(strategy._ddp_kwargs) if isinstance(strategy, DDPStrategy) else {}


def start_method(strategy: Strategy) -> str:
    """Return how the strategy starts processes: `popen`, or a method of multiprocessing that pickles the callbacks.

    Upstream: `DDPStrategy._start_method` (lightning 2.6.6).
    """
    method: str = getattr(strategy, "_start_method", "popen")
    return method


def child_processes(strategy: Strategy) -> list[subprocess.Popen[bytes]]:
    """Return the list of child processes that Lightning's observer thread on rank 0 watches; empty for other launchers.

    Upstream: `_SubprocessScriptLauncher.procs` (lightning 2.6.6).
    """
    from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

    launcher = strategy.launcher
    return launcher.procs if isinstance(launcher, _SubprocessScriptLauncher) else []


def skip_signal_broadcast(trainer: Trainer) -> None:
    """Disable the broadcast of a signal flag before each batch, which synchronizes host and device.

    Upstream: `_TrainingEpochLoop._broadcast_sigterm_tensor` (lightning 2.6.6).
    """
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


def validates_after_step(trainer: Trainer) -> bool:
    """Return whether Lightning validates after the current step; for use in `on_train_batch_end`.

    Upstream: `_TrainingEpochLoop._should_check_val_fx`, `_FitLoop._data_fetcher` (lightning 2.6.6).
    """
    loop: Any = trainer.fit_loop
    return sum(trainer.num_val_batches) > 0 and bool(loop.epoch_loop._should_check_val_fx(loop._data_fetcher))


def dump_checkpoint(trainer: Trainer) -> dict[str, Any]:
    """Return the content of a checkpoint without writing it.

    Upstream: `Trainer._checkpoint_connector.dump_checkpoint` (lightning 2.6.6).
    """
    return trainer._checkpoint_connector.dump_checkpoint(weights_only=False)


def trainer_of(module: LightningModule) -> Trainer | None:
    """Return the module's Trainer; None if it has none, where the public property raises.

    Upstream: `LightningModule._trainer` (lightning 2.6.6).
    """
    return module._trainer


def with_trainer_settings(cls: Class) -> Class:
    """Decorate a LightningCLI: the Trainer gets the arguments that the method `trainer_settings(config)` returns.

    LightningCLI has no public hook between parsing and the Trainer. It would also read settings from a checkpoint
    (`ckpt_path`), which is disabled.

    Upstream: `LightningCLI._instantiate_trainer`, `LightningCLI._parse_ckpt_path` (lightning 2.6.6).
    """
    build: Callable[..., Trainer] = cls._instantiate_trainer  # type: ignore[attr-defined]

    def instantiate_trainer(self: Any, config: dict[str, Any], callbacks: list[Any]) -> Trainer:
        return build(self, self.trainer_settings(config), callbacks)

    cls._instantiate_trainer = instantiate_trainer  # type: ignore[attr-defined]
    cls._parse_ckpt_path = lambda self: None  # type: ignore[attr-defined]
    return cls


_COUNTS = ("ready", "started", "processed", "completed")


def fit_loop_state(trainer: Trainer, step: int, steps_per_epoch: int) -> dict[str, Any]:
    """Return the state of `trainer.fit_loop` for a run that resumes after `step` optimizer steps.

    On resume Lightning infers from differences of its counters where in its loops a checkpoint was written. This fails
    for a checkpoint of the last step of an epoch: the next epoch is never counted as started, later checkpoints
    inherit the error, and a second resume repeats the epoch. So the counters of a checkpoint are never read: they are
    computed from the step (decision 0014).

    Upstream: the keys of `_FitLoop.state_dict()`, `_TrainingEpochLoop._batches_that_stepped` (lightning 2.6.6).

    Args:
        trainer: of the run, before its loops are restored.
        step: optimizer steps done, at least 1.
        steps_per_epoch: batches of an epoch under `trainer.limit_train_batches`, at least 1.

    Returns:
        The argument of `fit_loop.load_state_dict`.
    """
    epoch, done = divmod(step, steps_per_epoch)
    # With `max_steps` Lightning restarts its loops at the start of an epoch too.
    restarts = done > 0 or trainer.max_steps != -1
    state = trainer.fit_loop.state_dict()
    for key in ("total", "current"):
        state["epoch_progress"][key] = _progress(epoch, begun=done > 0)
        state["epoch_loop.manual_optimization.optim_step_progress"][key] = {"ready": step, "completed": step}
    # A restarting loop expects the last batch as processed but not completed: it completes it and counts it as logged.
    batches = state["epoch_loop.batch_progress"]
    batches["total"] = _progress(step - restarts, begun=restarts, processed=True)
    batches["current"] = (
        _progress((done or steps_per_epoch) - 1, begun=True, processed=True) if restarts else _progress(0)
    )
    batches["is_last_batch"] = False  # otherwise Lightning would complete a finished epoch a second time
    state["epoch_loop.state_dict"] = {"_batches_that_stepped": step - restarts}
    return state


def _progress(completed: int, *, begun: bool = False, processed: bool = False) -> dict[str, int]:
    """Return the counters of a loop after `completed` iterations, with one more begun and perhaps processed."""
    counts = (completed + begun, completed + begun, completed + (begun and processed), completed)
    return dict(zip(_COUNTS, counts, strict=True))


# transformers and Jinja2.


def carries_state(model_class: Any) -> bool:
    """Return whether an architecture is recurrent (Mamba), so that rows cannot be packed into one sequence.

    Upstream: `PreTrainedModel._is_stateful` (transformers 5.23).
    """
    return bool(getattr(model_class, "_is_stateful", False))


def supported_attention(model_class: type) -> dict[str, bool]:
    """Return for `sdpa` and `flash_attention_2` whether an architecture supports it.

    Upstream: `PreTrainedModel._supports_sdpa`, `PreTrainedModel._supports_flash_attn` (transformers 5.23).
    """
    return {
        "sdpa": getattr(model_class, "_supports_sdpa", False),
        "flash_attention_2": getattr(model_class, "_supports_flash_attn", False),
    }


def attention_of(config: Any) -> str | None:
    """Return the name of the attention implementation of a model with this config.

    Upstream: `PreTrainedConfig._attn_implementation` (transformers 5.23).
    """
    name: str | None = config._attn_implementation
    return name


def chat_template_environment() -> Environment:
    """Return the Jinja environment in which transformers renders chat templates, with its filters and functions.

    Upstream: `transformers.utils.chat_template_utils._compile_jinja_template` (transformers 5.23).
    """
    from transformers.utils.chat_template_utils import _compile_jinja_template

    environment: Environment = _compile_jinja_template("").environment
    return environment


def rewriting_templates(rewrite: Callable[[Any, Any], Any]) -> Callable[[Class], Class]:
    """Decorate a Jinja environment class: `rewrite` transforms the syntax tree of each template before compilation.

    Upstream: `jinja2.Environment._generate`, which its docstring offers as a hook (Jinja2 3.1.6).
    """

    def decorate(cls: Class) -> Class:
        generate: Callable[..., str] = cls._generate  # type: ignore[attr-defined]

        def rewritten(self: Environment, source: Any, *args: Any, **kwargs: Any) -> str:
            return generate(self, rewrite(self, source), *args, **kwargs)

        cls._generate = rewritten  # type: ignore[attr-defined]
        return cls

    return decorate


# jsonargparse.


def parser_rules() -> ModuleType:
    """Return the module with the merge rules that `commands/merging.py` replaces; the parser has no setting for them.

    Upstream: `jsonargparse._typehints`, its functions `adapt_typehints`, `discard_init_args_on_class_path_change` and
    `subclass_spec_as_namespace` (jsonargparse 4.53).
    """
    from jsonargparse import _typehints

    return _typehints


def import_class(class_path: str) -> Any:
    """Import the object of a `class_path` as the parser does, which restricts the modules that may be imported.

    Upstream: `jsonargparse._util.import_object` (jsonargparse 4.53).
    """
    from jsonargparse._util import import_object

    return import_object(class_path)


# PyTorch.


def cpu_flash_attention() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the CPU kernels of causal attention: forward with the log-sum-exp of each query, and backward.

    The public function returns no log-sum-exp, without which the backward pass would recompute the attention.

    Upstream: `aten::_scaled_dot_product_flash_attention_for_cpu` and `..._backward` (torch 2.13).
    """
    import torch

    aten = torch.ops.aten
    forward = aten._scaled_dot_product_flash_attention_for_cpu
    return forward, aten._scaled_dot_product_flash_attention_for_cpu_backward


def skips_non_finite_steps(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether the optimizer's step changes no weight if its device tensor `found_inf` is 1.

    Fused Adam, AdamW, SGD and Adagrad do: GradScaler uses it to skip a step without synchronizing host and device.

    Upstream: `Optimizer._step_supports_amp_scaling`, `Optimizer.found_inf` (torch 2.13).
    """
    is_pytorchs = type(optimizer).__module__.startswith("torch.optim.")
    return is_pytorchs and bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def onednn_linear() -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """Return oneDNN's functions to pack a fixed weight and to multiply with it; None if PyTorch is built without it.

    PyTorch's compiler uses both for constant weights; there is no public function.

    Upstream: `mkldnn::_reorder_linear_weight`, `mkldnn::_linear_pointwise` (torch 2.13).
    """
    import torch

    onednn = torch.ops.mkldnn
    if not torch.backends.mkldnn.is_available() or not hasattr(onednn, "_linear_pointwise"):
        return None
    return onednn._reorder_linear_weight, onednn._linear_pointwise
