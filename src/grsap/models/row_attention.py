"""Varlen attention of packed rows: its cost depends on the rows' lengths, not on the length of the pack.

transformers separates packed rows by a mask and computes all L x L pairs of a pack. Here attention is computed for each
row separately: on a GPU by PyTorch's varlen FlashAttention, on a CPU by PyTorch's attention kernel for single rows and
its gradient.

Shapes: L tokens of the pack, Q query heads, G key-value heads, D head size, R rows.
"""

from __future__ import annotations

import inspect
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from grsap.compat import attention_of, cpu_flash_attention
from grsap.models.lora import backbone

NAME = "grsap_rows"
MAX_HEAD_DIM = 256
"""Largest head size of FlashAttention, which also needs a multiple of 8."""
DROPOUTS = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")
"""Names of attention dropout in configs; the kernels here do not support it."""
# PyTorch 2.11 takes fewer key-value heads without `enable_gqa`.
_GROUPED = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}

_forward, _backward = cpu_flash_attention()


def attend_by_row(model: PreTrainedModel, dtype: torch.dtype = torch.float32) -> None:
    """Use varlen attention in a model whose attention is SDPA, causal and full in every layer, if a kernel supports it.

    Only calls with `cu_seq_lens_q` (packed rows) change.

    Args:
        model: the model, on its device.
        dtype: dtype of the queries, or of the autocast around them; a GPU needs bf16 or float16.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    # In latent attention (DeepSeek-V2), values have another head size than queries.
    special = ("sliding_window", "v_head_dim", *DROPOUTS)
    is_plain = kinds == {"full_attention"} and not any(getattr(config, name, None) for name in special)
    is_ours = attention_of(config) == "sdpa" and is_plain and _takes_any_argument(model)
    if is_ours and _has_kernel(model.device, dtype, config):
        model.set_attn_implementation(NAME)


def _has_kernel(device: torch.device, dtype: torch.dtype, config: Any) -> bool:
    """Return whether a kernel exists: on CPUs for any dtype, on GPUs from Ampere on in half precision."""
    if device.type != "cuda":
        return device.type == "cpu"
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return (
        dtype in (torch.bfloat16, torch.float16)
        and head_dim % 8 == 0
        and head_dim <= MAX_HEAD_DIM
        and torch.version.hip is None
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


def attends_by_row(model: PreTrainedModel) -> bool:
    """Return whether a model uses varlen attention."""
    return attention_of(model.config.get_text_config()) == NAME


def stop_attending_by_row(model: PreTrainedModel) -> None:
    """Restore PyTorch's attention."""
    model.set_attn_implementation("sdpa")


def _takes_any_argument(model: PreTrainedModel) -> bool:
    parameters = inspect.signature(backbone(model).forward).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int = 0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Map queries, (B, Q, L, D), keys and values, (B, G, L, D), to outputs, (B, L, Q, D).

    Args:
        module: attention layer.
        query: queries.
        key: keys.
        value: values.
        attention_mask: mask; used without `cu_seq_lens_q` only.
        cu_seq_lens_q: (R + 1,) int32 row boundaries on the queries' device; None for unpacked rows.
        max_length_q: tokens of the longest row; required on a GPU.
        kwargs: `scaling`, and arguments of transformers' SDPA.

    Raises:
        ValueError: `max_length_q` is missing on a GPU.
    """
    if cu_seq_lens_q is None:
        output: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output
    kind = query.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    scaling = kwargs.get("scaling") or query.shape[-1] ** -0.5
    if kind == "cuda":
        if max_length_q < 1:
            raise ValueError("max_length_q, the tokens of the longest row, is missing")
        query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
        return _varlen(query, key, value, cu_seq_lens_q, max_length_q, scaling)[None], None
    return by_row(query, key, value, cu_seq_lens_q, scaling)[0], None


def _varlen(query: Tensor, key: Tensor, value: Tensor, row_bounds: Tensor, longest: int, scaling: float) -> Tensor:
    """Compute causal attention within each row: queries (L, Q, D), keys and values (L, G, D) to outputs (L, Q, D)."""
    attention: Any = varlen_attn
    bounds = (row_bounds, row_bounds, longest, longest)
    output: Tensor = attention(query, key, value, *bounds, scale=scaling, window_size=(-1, 0), **_GROUPED)
    return output


def _mask(*, attention_mask: Tensor | None = None, q_length: int, kv_length: int, **kwargs: Any) -> Any:
    """Return no mask for packed or equally long rows; transformers' mask for padded rows and with a KV cache."""
    if attention_mask is None and q_length == kv_length:
        return None
    return sdpa_mask(attention_mask=attention_mask, q_length=q_length, kv_length=kv_length, **kwargs)


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, _mask)


@torch.library.custom_op("grsap::attention_by_row", mutates_args=(), device_types="cpu")
def by_row(query: Tensor, key: Tensor, value: Tensor, row_bounds: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
    """Compute causal attention within each row.

    Args:
        query: (1, Q, L, D).
        key: (1, G, L, D).
        value: (1, G, L, D).
        row_bounds: (R + 1,) ascending from 0 to L.
        scaling: factor of the products of queries and keys.

    Returns:
        Outputs, (1, L, Q, D), and log-sum-exps, (1, L, Q), for the gradient.
    """
    output, sums = _shapes(query, key, value, row_bounds, scaling)
    groups = query.shape[1] // key.shape[1]
    for part in _rows(row_bounds):
        keys, values = _repeated(key[:, :, part], groups), _repeated(value[:, :, part], groups)
        out, logsumexp = _forward(query[:, :, part], keys, values, 0.0, True, scale=scaling)
        output[:, part] = out.transpose(1, 2)
        sums[:, part] = logsumexp.transpose(1, 2)
    return output, sums


def _shapes(query: Tensor, key: Tensor, value: Tensor, row_bounds: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
    shape = (1, query.shape[2], query.shape[1])
    dtype = torch.promote_types(query.dtype, torch.float32)
    return query.new_empty(*shape, query.shape[3]), query.new_empty(*shape, dtype=dtype)


@torch.library.custom_op("grsap::attention_by_row_backward", mutates_args=(), device_types="cpu")
def by_row_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    sums: Tensor,
    row_bounds: Tensor,
    scaling: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients with respect to `query`, `key` and `value`, in their shapes."""
    of_query = query.new_empty(query.shape)
    of_key, of_value = key.new_empty(key.shape), value.new_empty(value.shape)
    heads = key.shape[1]
    groups = query.shape[1] // heads
    for part in _rows(row_bounds):
        by_query, by_key, by_value = _backward(
            gradient[:, part].transpose(1, 2),
            query[:, :, part],
            _repeated(key[:, :, part], groups),
            _repeated(value[:, :, part], groups),
            output[:, part].transpose(1, 2),
            sums[:, part].transpose(1, 2),
            0.0,
            True,
            scale=scaling,
        )
        of_query[:, :, part] = by_query
        of_key[:, :, part] = by_key.unflatten(1, (heads, groups)).sum(2)
        of_value[:, :, part] = by_value.unflatten(1, (heads, groups)).sum(2)
    return of_query, of_key, of_value


@by_row_backward.register_fake
def _gradient_shapes(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return tuple(each.new_empty(each.shape) for each in (query, key, value))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, row_bounds, ctx.scaling = inputs
    ctx.save_for_backward(query, key, value, *output, row_bounds)


def _gradients(ctx: Any, gradient: Tensor, of_sums: Tensor) -> tuple[Tensor | None, ...]:
    return *by_row_backward(gradient, *ctx.saved_tensors, ctx.scaling), None, None


by_row.register_fake(_shapes)
by_row.register_autograd(_gradients, setup_context=_save)


def _rows(row_bounds: Tensor) -> list[slice]:
    bounds = row_bounds.tolist()
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def _repeated(states: Tensor, groups: int) -> Tensor:
    """Repeat heads: (1, G, L, D) to (1, G x groups, L, D)."""
    return states.repeat_interleave(groups, dim=1) if groups > 1 else states
