"""A side: a bare PyTorch loop, with as many of grsap's means as its `config` switches on, one by one.

packing: a step's rows end to end, without padding. supervised_only: logits at supervised positions only.
row_attention: attention row by row (grsap's own kernel). compile: the decoder layers are compiled.
    width: every pack is filled up to this many tokens by a row of padding, so that compiled layers see one shape.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from record import Record, matmul_parameters

SWITCHES = ("packing", "supervised_only", "row_attention", "compile")


class Step:
    """The tensors of one step: packed into one sequence, or padded to the longest row."""

    def __init__(
        self, rows: list[tuple[list[int], list[bool]]], packed: bool, width: int, pad: int, device: str
    ) -> None:
        import torch

        empty = width - sum(len(ids) for ids, _ in rows)
        if width and empty < 0:
            raise SystemExit(f"a step has {-empty} tokens more than width {width}")
        if width and empty:
            rows = [*rows, ([pad] * empty, [False] * empty)]

        def tensor(values: Any) -> Any:
            return torch.tensor(values, device=device)

        targets = [[token if on else -100 for token, on in zip(ids, mask, strict=True)] for ids, mask in rows]
        if packed:
            self.ids = tensor([[token for ids, _ in rows for token in ids]])
            self.positions = tensor([[place for ids, _ in rows for place in range(len(ids))]])
            self.labels, self.mask = tensor([[target for row in targets for target in row]]), None
        else:
            width = max(len(ids) for ids, _ in rows)
            self.ids = tensor([ids + [pad] * (width - len(ids)) for ids, _ in rows])
            self.positions = tensor([list(range(width)) for _ in rows])
            self.mask = tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows])
            self.labels = tensor([row + [-100] * (width - len(row)) for row in targets])
        bounds = [0]
        for ids, _ in rows:
            bounds.append(bounds[-1] + len(ids))
        self.bounds = torch.tensor(bounds, dtype=torch.int32)


def loss_of(model: Any, step: Step, switches: dict[str, bool]) -> Any:
    """Mean cross-entropy of the step's supervised tokens."""
    from torch.nn.functional import cross_entropy

    inner = model.get_base_model()
    by_row = {"cu_seq_lens_q": step.bounds} if switches["row_attention"] else {}
    states = inner.model(
        input_ids=step.ids, position_ids=step.positions, attention_mask=step.mask, use_cache=False, **by_row
    ).last_hidden_state[:, :-1]
    labels = step.labels[:, 1:]
    if switches["supervised_only"]:
        wanted = labels != -100
        return cross_entropy(inner.lm_head(states[wanted]).float(), labels[wanted])
    return cross_entropy(inner.lm_head(states).float().flatten(0, 1), labels.flatten(), ignore_index=-100)


def encode(tokenizer: Any, row: dict[str, str]) -> tuple[list[int], list[bool]]:
    """Ids and supervised tokens of a row."""
    turns = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["response"]}]
    options = {"tokenize": True, "return_dict": False}
    prompt = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, **options)
    ids = tokenizer.apply_chat_template(turns, **options)
    return ids, [place >= len(prompt) for place in range(len(ids))]


def main() -> None:
    record = Record.from_command_line()
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    record.imports_done()
    from rows_file import load_tokenizer, load_with_adapter, read_rows

    job = record.job
    switches = {name: bool(job["config"].get(name, False)) for name in SWITCHES}
    width = int(job["config"].get("width", 0))
    tokenizer = load_tokenizer(job)
    rows = [encode(tokenizer, row) for row in read_rows(job)]
    model = load_with_adapter(job)
    if switches["row_attention"]:
        from grsap.models.row_attention import attend_by_row

        attend_by_row(model.get_base_model())
    if switches["compile"]:
        for layer in model.get_base_model().model.layers:
            layer.compile(dynamic=not width)
    trained = [p for p in model.parameters() if p.requires_grad]
    record.adapter(trained)
    optimizer = torch.optim.AdamW(trained, lr=job["lr"], weight_decay=0.0)
    dtype = getattr(torch, job["dtype"])
    for start in range(0, len(rows), job["rows_per_step"]):
        part = rows[start : start + job["rows_per_step"]]
        record.step_begins()
        record.saw(part)
        step = Step(part, switches["packing"], width, tokenizer.pad_token_id or 0, job["device"])
        with torch.autocast(job["device"], dtype, enabled=dtype != torch.float32):
            loss = loss_of(model, step, switches)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        record.losses[-1] = float(loss.detach())
        record.step_ends()
    model.save_pretrained(Path(job["folder"]) / "run")
    record.write(matmul_parameters=matmul_parameters(model))


if __name__ == "__main__":
    main()
