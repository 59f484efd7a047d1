"""The optimizer step: one update however the rows fall into micro-batches, and what a checkpoint holds."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from tests.training.conftest import Questions, train, weights
from torch import Tensor
from transformers import LlamaForCausalLM, OPTConfig, OPTForCausalLM

from grsap.callbacks.model_export import export_model
from grsap.data import Batching, MixtureDataModule, RatioSampler, ReplayDataModule
from grsap.errors import ConfigError, ModelError, NonFiniteLossError
from grsap.models import BaseModel
from grsap.objectives import Balancer, CrossEntropy, KLToBase, Objective, StepReport, TokenChunk
from grsap.training import SafetyFineTuning, StepSettings
from grsap.training.placement import first_message


def test_micro_batches_and_padding_do_not_change_the_update(base: BaseModel, replay_path: str) -> None:
    terms = lambda: [CrossEntropy("task"), CrossEntropy("replay", weight=0.7), KLToBase(weight=0.5)]  # noqa: E731
    one = weights(train(base, replay_path, objectives=terms()))
    many = weights(train(base, replay_path, objectives=terms(), max_tokens=100, batch_size=8))
    padded = weights(train(base, replay_path, objectives=terms(), max_tokens=100, packing="off"))
    start = weights(train(base, replay_path, objectives=terms(), optimizer=partial(torch.optim.SGD, lr=0.0)))
    assert (one - start).abs().max() > 1e-3
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(one, padded, rtol=1e-4, atol=1e-6)


def opt(base: BaseModel, tmp_path: Path, attention: Literal["eager", "auto"]) -> BaseModel:
    """OPT's own attention takes no heed of positions that restart."""
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=512, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=32,
        dropout=0.0,
    )  # fmt: skip
    OPTForCausalLM(config).save_pretrained(tmp_path / "opt")
    base.tokenizer.save_pretrained(tmp_path / "opt")
    return BaseModel(str(tmp_path / "opt"), quantization="none", compute_dtype="float32", attention=attention)


def test_a_model_in_which_packed_rows_see_each_other_is_trained_padded_only(
    base: BaseModel, replay_path: str, tmp_path: Path
) -> None:
    eager = opt(base, tmp_path, "eager")
    with pytest.raises(ConfigError, match=r"attend to each other in .*opt\. Set data\.batching\.packing to off"):
        train(eager, replay_path, packing="auto")
    one = weights(train(eager, replay_path, packing="off"))
    many = weights(train(eager, replay_path, packing="off", max_tokens=100))
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-6)


def test_attention_by_row_keeps_rows_apart_where_a_models_own_does_not(
    base: BaseModel, replay_path: str, tmp_path: Path
) -> None:
    model = opt(base, tmp_path, "auto")
    packed = weights(train(model, replay_path, packing="on"))
    padded = weights(train(model, replay_path, packing="off"))
    torch.testing.assert_close(packed, padded, rtol=1e-4, atol=1e-6)


def test_weights_of_one_are_plain_fine_tuning_on_the_union(base: BaseModel, replay_path: str) -> None:
    module = train(base, replay_path, step=StepSettings(max_grad_norm=None))
    fresh = train(base, replay_path, optimizer=partial(torch.optim.SGD, lr=0.0))
    model = fresh.loaded_model
    data = fresh.trainer.datamodule  # type: ignore[attr-defined]
    # The same rows by hand: one row a pass, transformers' own loss, averaged over all supervised tokens.
    total, num = torch.zeros(()), 0
    for planned in data.plan(0):
        row = (data.task_rows if planned.source == "task" else data.replay_rows)[planned.index]
        ids = torch.from_numpy(row.input_ids.astype("int64"))[None]
        labels = torch.where(torch.from_numpy(row.supervised)[None], ids, -100)
        total = total + model(input_ids=ids, labels=labels).loss * row.num_targets
        num += row.num_targets
    (total / num).backward()
    for name, parameter in fresh.named_parameters():
        if parameter.requires_grad:
            expected = parameter.detach() - 0.5 * parameter.grad
            torch.testing.assert_close(module.state_dict()[name], expected, rtol=1e-4, atol=1e-6)


def test_per_objective_divides_each_term_by_its_own_tokens(base: BaseModel, replay_path: str) -> None:
    settings = StepSettings(normalisation="per_objective", max_grad_norm=None)
    module = train(
        base, replay_path, objectives=[CrossEntropy("task", 0.0), CrossEntropy("replay", 1.0)], step=settings
    )
    whole = train(
        base, replay_path, objectives=[CrossEntropy("task", 0.0), CrossEntropy("replay", 1.0)],
        step=StepSettings(max_grad_norm=None),
    )  # fmt: skip
    start = weights(train(base, replay_path, optimizer=partial(torch.optim.SGD, lr=0.0)))
    batch = module.trainer.datamodule.step_batch(0, 0, 1)  # type: ignore[attr-defined]
    ratio = sum(batch.num_targets.values()) / batch.num_targets["replay"]
    torch.testing.assert_close(weights(module) - start, (weights(whole) - start) * ratio, rtol=1e-3, atol=1e-6)


def test_the_gradient_norm_is_limited(base: BaseModel, replay_path: str) -> None:
    start = weights(train(base, replay_path, optimizer=partial(torch.optim.SGD, lr=0.0)))
    moved = weights(train(base, replay_path, step=StepSettings(max_grad_norm=0.01)))
    assert float((moved - start).norm()) == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_the_learning_rate_follows_the_bound_by_steps_where_epochs_have_none(base: BaseModel, replay_path: str) -> None:
    """-1 is Lightning's "no bound". Twelve steps of four rows are four epochs."""
    bounds = [
        {"max_epochs": -1, "max_steps": 12},
        {"max_epochs": 4, "max_steps": -1},
        {"max_epochs": 9, "max_steps": 12},
    ]
    for bound in bounds:
        module = train(base, replay_path, batch_size=4, **bound)
        assert (module.trainer.global_step, module.num_training_steps()) == (12, 12)
    with pytest.raises(ConfigError, match=r"neither trainer\.max_epochs nor trainer\.max_steps ends the run"):
        train(base, replay_path, max_epochs=-1, max_steps=-1)


class Broken(Objective):
    """`value` on replay rows."""

    def __init__(self, value: float, gradient: float) -> None:
        super().__init__("replay", 1.0, "broken")
        self.value = value
        self.gradient = gradient

    def token_losses(self, chunk: TokenChunk) -> Tensor:
        """(T,) `value`, with this gradient."""
        return chunk.logits.sum(-1) * self.gradient + self.value


@pytest.mark.parametrize(("value", "gradient"), [(0.0, float("nan")), (float("inf"), 0.0)])
def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_rows(
    base: BaseModel, replay_path: str, value: float, gradient: float
) -> None:
    named = "nan" if value == 0 else "inf"
    with pytest.raises(NonFiniteLossError, match=rf"Step 0: broken is {named} on rows .*safe-\d") as error:
        train(base, replay_path, objectives=[CrossEntropy("task"), Broken(value, gradient)])
    assert "The weights are unchanged" in str(error.value)


def ask_rank(rank: int, file: str, queue: Any) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{file}", rank=rank, world_size=2, timeout=timedelta(seconds=30)
    )
    queue.put(first_message("loss is nan on rows a, b" if rank == 1 else None, 2))
    dist.destroy_process_group()


def test_all_ranks_tell_the_rows_of_the_one_that_has_them(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    ranks = [context.Process(target=ask_rank, args=(rank, str(tmp_path / "store"), queue)) for rank in range(2)]
    for each in ranks:
        each.start()
    assert [queue.get(timeout=60) for _ in ranks] == ["loss is nan on rows a, b"] * 2
    for each in ranks:
        each.join(60)


def test_a_checkpoint_holds_the_adapter_and_nothing_else(base: BaseModel, replay_path: str) -> None:
    module = train(base, replay_path, lora=LoraConfig(r=2, target_modules=["q_proj"]))
    layers = (f"model.base_model.model.model.layers.{number}.self_attn.q_proj" for number in (0, 1))
    expected = {f"{layer}.lora_{side}.default.weight" for layer in layers for side in "AB"}
    assert set(module.state_dict()) == expected
    other = dict.fromkeys(sorted(expected)[:3], torch.zeros(1))
    with pytest.raises(ModelError, match="holds 3 trainable tensors, this model has 4"):
        module.load_state_dict(other)
    of_another_rank = {
        name: torch.zeros([2 * size for size in value.shape]) for name, value in module.state_dict().items()
    }
    with pytest.raises(ModelError, match=r"q_proj.lora_A.default.weight is not in both, or has another shape"):
        module.load_state_dict(of_another_rank)


def test_a_checkpoint_that_is_not_finite_is_refused(base: BaseModel, replay_path: str) -> None:
    module = train(base, replay_path, lora=LoraConfig(r=2, target_modules=["q_proj"]))
    state = module.state_dict()
    name = next(iter(state))
    with pytest.raises(ModelError, match=rf"the tensor {name} is not finite"):
        module.load_state_dict({**state, name: torch.full_like(state[name], float("inf"))})


def test_a_checkpoint_belongs_to_its_base(tmp_path: Path, tiny_base_path: Path) -> None:
    folder = shutil.copytree(tiny_base_path, tmp_path / "base")
    checkpoint: dict[str, Any] = {}

    def module() -> SafetyFineTuning:
        return SafetyFineTuning(BaseModel(str(folder), quantization="none"), LoraConfig(target_modules=["q_proj"]))

    module().on_save_checkpoint(checkpoint)
    module().on_load_checkpoint(checkpoint)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=rf"belongs to other weights than those at model.base.path {folder}"):
        module().on_load_checkpoint(checkpoint)
    del checkpoint["base"]  # of an older version
    module().on_load_checkpoint(checkpoint)


class Remembers(Balancer):
    """Notes what it is told of the step before."""

    def __init__(self) -> None:
        self.told: list[StepReport | None] = []

    def weights(self, objectives: Sequence[Objective], previous: StepReport | None) -> dict[str, float]:
        self.told.append(previous)
        return {each.name: 1.0 for each in objectives}


def test_a_balancer_is_told_the_same_after_a_resume(base: BaseModel, replay_path: str) -> None:
    balancer = Remembers()
    module = train(base, replay_path, balancer=balancer, batch_size=4, max_steps=2)
    assert balancer.told[0] is None
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    resumed = SafetyFineTuning(base, lora=LoraConfig(r=4, target_modules="all-linear"))
    resumed.on_load_checkpoint(checkpoint)
    assert checkpoint["previous_step"]["step"] == 1
    assert resumed._previous == module._previous


def test_dropout_depends_on_seed_and_step_alone(base: BaseModel, replay_path: str) -> None:
    lora = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.5, init_lora_weights=False)

    def run(seed: int) -> Tensor:
        torch.rand(seed + 1)
        return weights(train(base, replay_path, lora=lora, max_steps=2, batch_size=4, seed=seed))

    first, again, other = run(1), run(1), run(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("way", ["gradient_checkpointing", "compile"])
def test_ways_to_compute_the_step_change_nothing(
    base: BaseModel, replay_path: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = weights(train(base, replay_path))
    compiled: list[str] = []
    compile_module = torch.nn.Module.compile

    def compile_with_dynamo_alone(self: torch.nn.Module, **settings: object) -> None:
        compiled.append(type(self).__name__)
        compile_module(self, backend="eager", **settings)  # what inductor makes of the graph takes minutes

    monkeypatch.setattr(torch.nn.Module, "compile", compile_with_dynamo_alone)
    if way == "compile":
        other = train(base, replay_path, step=StepSettings(compile=True))
        assert compiled == ["LlamaDecoderLayer"] * 2
    else:
        other = train(replace(base, gradient_checkpointing=True), replay_path)
        assert other.loaded_model.is_gradient_checkpointing
    torch.testing.assert_close(weights(other), plain, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "quantization"),
    [
        ({"use_rslora": True}, "fp4"),
        ({"use_rslora": True}, "int8"),
        ({"use_dora": True}, "nf4"),
        ({"init_lora_weights": "pissa"}, "none"),
    ],
)
def test_what_peft_knows_trains_and_is_exported(
    base: BaseModel, replay_path: str, tmp_path: Path, settings: dict[str, object], quantization: str
) -> None:
    base = replace(base, quantization=quantization)  # type: ignore[arg-type]
    module = train(base, replay_path, lora=LoraConfig(r=4, target_modules="all-linear", **settings))  # type: ignore[arg-type]
    export_model(module, tmp_path / "adapter")
    fresh = base.load(torch.device("cpu"))
    ids = torch.arange(5, 45)[None]
    with torch.no_grad():
        plain = fresh(ids).logits
        loaded = PeftModel.from_pretrained(fresh, str(tmp_path / "adapter"))
        for model in (module.loaded_model, loaded):
            model.eval()
        logits = module.loaded_model(ids).logits
        torch.testing.assert_close(loaded(ids).logits, logits, rtol=1e-3, atol=1e-3)
    assert (logits - plain).abs().max() > 0.1


def test_an_output_layer_that_is_trained_is_refused_where_the_bases_is_needed(
    base: BaseModel, replay_path: str
) -> None:
    lora = LoraConfig(r=4, target_modules=["q_proj", "lm_head"])
    with pytest.raises(ConfigError, match="trains the output layer, and an objective needs the base's"):
        train(base, replay_path, lora=lora, objectives=[CrossEntropy("task"), KLToBase()])


def test_a_head_that_is_not_all_between_states_and_logits_is_refused(
    base: BaseModel, replay_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = LlamaForCausalLM.forward

    def capped(self: LlamaForCausalLM, *args: Any, **kwargs: Any) -> Any:
        output = forward(self, *args, **kwargs)
        output.logits = torch.tanh(output.logits / 0.1) * 0.1
        return output

    monkeypatch.setattr(LlamaForCausalLM, "forward", capped)
    with pytest.raises(ModelError, match="the model's logits differ from those of its output layer by"):
        train(base, replay_path)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_a_number_format_of_the_trainer_is_refused(base: BaseModel, replay_path: str, precision: str) -> None:
    with pytest.raises(ConfigError, match=f"trainer.precision is {precision}"):
        train(base, replay_path, precision=precision)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_full_fine_tuning_trains_every_weight(
    base: BaseModel, replay_path: str, tiny_llama: torch.nn.Module, checkpointing: bool
) -> None:
    base = replace(base, gradient_checkpointing=checkpointing)
    module = SafetyFineTuning(base, lora=None, optimizer=partial(torch.optim.SGD, lr=0.5))
    data = MixtureDataModule(
        Questions(),
        ReplayDataModule(replay_path),
        RatioSampler(0.25),
        base,
        Batching(global_batch_size=8, max_tokens_per_micro_batch=1024),
    )
    Trainer(
        max_steps=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
    ).fit(module, data)  # fmt: skip
    before = dict(tiny_llama.named_parameters())
    after = {name.removeprefix("model."): value for name, value in module.state_dict().items()}
    assert set(after) == {*before}
    moved = [name for name, value in after.items() if not torch.equal(value, before[name])]
    assert len(moved) == len(before)
