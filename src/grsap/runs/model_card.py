"""Write the model card in the adapter folder: training data, settings and measurements, and no other claims."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from grsap import __version__
from grsap.embedded import PREFIX, is_packaged
from grsap.files import hash_bytes, write_atomic
from grsap.json_text import read_object
from grsap.measurement.catalogue import rates_of_summary
from grsap.pages.numbers import count, percent, percent_interval, points, points_interval
from grsap.progress import duration
from grsap.runs.folder import LENGTH_BOUNDS, RunFolder
from grsap.runs.summary_table import fewer_answers, restored_lines, row_label

CARD = "README.md"
_MARK = re.compile(r"\n<!-- written by grsap: ([0-9a-f]{16}) -->\n\Z")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|])")
Json = Mapping[str, Any]


def write_model_card(folder: RunFolder) -> bool:
    """Write `adapter/README.md` from the files of the run, unless a user edited the card.

    Returns:
        Whether a card was written.
    """
    path = folder.adapter / CARD
    if not folder.adapter.is_dir() or is_edited(path):
        return False
    summary, manifest = folder.read_summary(), read_object(folder.manifest)
    if summary is None or not manifest:
        return False
    text = model_card(
        folder.path.resolve().name, summary, manifest, read_object(folder.adapter / "adapter_config.json")
    )
    write_atomic(path, f"{text}\n<!-- written by grsap: {hash_bytes(text.encode())} -->\n")
    return True


def has_model_card(folder: RunFolder) -> bool:
    """Return whether a finished run has its card, or has no adapter."""
    return not folder.adapter.is_dir() or (folder.adapter / CARD).is_file()


def is_edited(path: Path) -> bool:
    """Return whether a user edited the card: its last line has the hash of the text that grsap wrote."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    mark = _MARK.search(text)
    return mark is None or hash_bytes(text[: mark.start()].encode()) != mark[1]


def model_card(name: str, summary: Json, manifest: Json, adapter: Json) -> str:
    """Return the text of the card, in Markdown.

    Args:
        name: name of the run.
        summary: content of `summary.json`.
        manifest: content of `manifest.json`.
        adapter: content of `adapter_config.json`; empty after full fine-tuning.
    """
    base = manifest.get("base") or {}
    kind = "LoRA adapter" if adapter else "Fully fine-tuned model"
    how = "on a task"
    if _learned(summary, "replay"):
        how += ", with safety rows mixed in ([generative replay](https://arxiv.org/abs/2603.10243))"
    parts = [
        _front_matter(base, adapter, summary),
        f"# {_plain(name)}\n\n{kind}, trained with grsap {__version__} {how}.",
        _section("What was measured", _measured(summary)),
        _section("What it was trained on", _data(manifest, summary)),
        _section("How it was trained", _training(manifest, summary, adapter)),
        _section("How to load it", _loading(base, adapter)),
        _section("Limits", _limits(summary, manifest)),
    ]
    return "\n\n".join(parts)


def _learned(summary: Json, source: str) -> int | None:
    """Return the number of rows of a source that an objective used, repeats counted; None if unknown."""
    rows = summary.get("rows_learned")
    return None if rows is None else int(rows.get(source, 0))


def _front_matter(base: Json, adapter: Json, summary: Json) -> str:
    path = str(base.get("path") or "")
    values: dict[str, Any] = {}
    if _HUB_ID.fullmatch(path) and not Path(path).exists():
        values["base_model"] = path
    replay = ["safety", "generative-replay"] if _learned(summary, "replay") else []
    values |= {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": [*(["lora"] if adapter else []), "grsap", *replay],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False)}# license: yours to choose; mind that of the base model\n---"


def _measured(summary: Json) -> Iterator[str]:
    before, after, changes = (summary.get(key) or {} for key in ("before", "after", "changes"))
    rows = []
    for spec in rates_of_summary(summary):
        change = changes.get(spec.key) or {}
        reason = f" ({change['verdict_reason'].replace('_', ' ')})" if change.get("verdict_reason") else ""
        rates = [_rate(moment.get(spec.key)) for moment in (before, after)]
        cells = [row_label(spec, summary), *rates, _change(change), f"{change.get('verdict') or ''}{reason}"]
        rows.append(f"| {' | '.join(cells)} |")
    if not rows:
        yield "Nothing: the run had no checks."
        return
    yield "\n".join(["| rate | before | after | paired change, points | verdict |", "|---|---|---|---|---|", *rows])
    margin = next((change["margin"] for change in changes.values() if change.get("margin") is not None), None)
    ratio = ", and within `max_ratio`" if any(c.get("ratio_excess") is not None for c in changes.values()) else ""
    held = "" if margin is None else f' "Held": worse by less than {100 * margin:g} points with 95 % confidence{ratio}.'
    yield (
        "Before is the base model, after is this model, on the same prompts and by the same judge. The change is after "
        "minus before in percentage points, paired by prompt. In brackets: the 95 % interval and the number of prompts "
        f"(pair accuracy: of pairs) n. An answer without a readable verdict (unparsed) widens the interval.{held}"
    )
    yield from (f"**Fewer answers:** {line}." for line in fewer_answers(summary))
    judge = next((rate["judge"] for rate in (after.get("refusal_rate"), after.get("harmfulness_rate")) if rate), None)
    if judge:
        proxy = (
            " It is a proxy that sees refusals only: whether an answer that does not refuse is harmful was not judged."
            if summary.get("harmfulness_is_proxy")
            else ""
        )
        yield f"Judge of the safety prompts: `{judge}`.{proxy}"


def _data(manifest: Json, summary: Json) -> Iterator[str]:
    data = manifest.get("data") or {}
    sources = data.get("sources") or {}
    lines = [_of_source(summary, source, each) for source, each in sources.items()]
    seen = summary.get("replay_ratio_seen")
    if seen is not None:
        lines.append(f"- share of replay among the rows seen: {percent(seen)}")
    task = ((manifest.get("config") or {}).get("data") or {}).get("task") or {}
    if isinstance(task, dict) and task.get("class_path"):
        lines.append(f"- task: `{task['class_path']}`")
    if data.get("fingerprint"):
        lines.append(f"- fingerprint of all rows: `{data['fingerprint']}`")
    yield "\n".join(lines) or "Not recorded."
    files = [f"- `{_file_name(name)}`: `{digest}`" for name, digest in (manifest.get("files") or {}).items()]
    if files:
        yield "Files named in the settings, with the first 16 digits of their SHA-256:"
        yield "\n".join(files)


def _of_source(summary: Json, source: str, report: Json) -> str:
    """Return a line on the rows of a source: how many were used and how many are available."""
    rows, unseen = _learned(summary, source), (summary.get("rows_unseen") or {}).get(source)
    learned = ""
    if rows is not None:
        tokens = count((summary.get("targets_learned") or {}).get(source, 0))
        total = f"{count(rows)} rows learned ({tokens} supervised tokens), repeats counted"
        learned = f"{total if rows else 'none learned, because no objective of a weight above 0 uses them'}; "
    left = f"; {count(unseen)} of them were never seen" if unseen else ""
    available = f"{count(report['num_kept'])} rows available ({count(report['num_targets'])} supervised tokens)"
    return f"- {source}: {learned}{available}{left}"


def _training(manifest: Json, summary: Json, adapter: Json) -> Iterator[str]:
    base = manifest.get("base") or {}
    lines = [f"- base: `{_file_name(base['path'])}`, quantization {base.get('quantization', 'none')}"] if base else []
    if base.get("revision"):
        lines.append(f"- revision of the base: `{base['revision']}`")
    if base.get("merge_adapter"):
        digest = base.get("merge_adapter_content_hash")
        lines.append(f"- merged into the base first: `{_file_name(base['merge_adapter'])}` (`{digest}`)")
    if adapter:
        targets = adapter.get("target_modules")
        named = targets if isinstance(targets, str) else ", ".join(sorted(targets or ()))
        dropout = adapter.get("lora_dropout")
        lines.append(f"- LoRA: r {adapter.get('r')}, alpha {adapter.get('lora_alpha')}, dropout {dropout}, on {named}")
    for each in ((manifest.get("config") or {}).get("model") or {}).get("objectives") or []:
        arguments = {key: value for key, value in (each.get("init_args") or {}).items() if value is not None}
        shown = ", ".join(f"{key} {value}" for key, value in arguments.items())
        lines.append(
            f"- objective: `{str(each.get('class_path')).rpartition('.')[2]}`" + (f" ({shown})" if shown else "")
        )
    lines.append(
        f"- {count(summary['num_steps'])} steps, {count(summary['num_tokens'])} tokens, {duration(summary['seconds'])} "
        f"with checks, on {manifest.get('world_size', 1)} x {', '.join(map(str, manifest.get('devices') or ['?']))}"
    )
    seeds = ", ".join(f"{key} {value}" for key, value in (manifest.get("seeds") or {}).items())
    lines += [f"- seeds: {seeds}"] if seeds else []
    lines.append(f"- chat template: `{manifest.get('template_hash')}`")
    versions = ", ".join(f"{name} {version}" for name, version in (manifest.get("versions") or {}).items() if version)
    yield "\n".join([*lines, f"- versions: {versions}"])


def _loading(base: Json, adapter: Json) -> Iterator[str]:
    path = str(base.get("path") or "BASE")
    name = _file_name(path)
    if not adapter:
        code = [
            "from transformers import AutoModelForCausalLM",
            "",
            'model = AutoModelForCausalLM.from_pretrained(".")',
        ]
        yield "\n".join(["```python", *code, "```"])
        return
    code = [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM",
        "",
        f'base = AutoModelForCausalLM.from_pretrained("{name}")',
        'model = PeftModel.from_pretrained(base, ".")',
    ]
    yield "\n".join(["```python", *code, "```"])
    if path.startswith(PREFIX):
        yield f"`{name}` is a model inside the grsap package: use a folder or Hub id with the same weights."
    if base.get("merge_adapter"):
        yield "First merge the adapter named above into the base: this adapter was trained on the merged model."
    if base.get("quantization") not in (None, "none"):
        yield (
            f"It was trained and measured on a base model with {base['quantization']} quantization. Its results on a "
            "base model in full precision are different, and were not measured."
        )


def _limits(summary: Json, manifest: Json) -> Iterator[str]:
    measured = any(value for key in ("before", "after") for value in (summary.get(key) or {}).values())
    lines = [
        "- The numbers above hold for the prompts of this run's checks, with answers truncated at the checks' token "
        "limit. They say nothing about other prompts, longer answers, other system prompts or attacks."
        if measured
        else "- Nothing was measured: whether this model still refuses what the base model refused is unknown.",
        "- One run with one seed: the variation between seeds was not measured.",
    ]
    if summary.get("harmfulness_is_proxy"):
        lines.append("- Harmfulness was not measured: the judge sees refusals only.")
    elif not (summary.get("after") or {}).get("harmfulness_rate"):
        lines.append("- Harmfulness was not measured.")
    planned, learned = (manifest.get("data") or {}).get("replay_rows_per_epoch"), _learned(summary, "replay")
    if not planned:
        lines.append("- No safety rows were mixed in.")
    elif learned == 0:
        lines.append("- Safety rows were in the training batches, but nothing was learned from them.")
    if summary.get("stop_reason") not in (None, *LENGTH_BOUNDS):
        lines.append(f"- The run was stopped early: {_plain(str(summary['stop_reason']))}")
    lines += [f"- {line[0].upper()}{_plain(line[1:])}." for line in restored_lines(summary)]
    yield "\n".join(lines)


def _rate(rate: Json | None) -> str:
    if not rate:
        return ""
    unparsed = f", {rate['num_unparsed']} unparsed" if rate.get("num_unparsed") else ""
    interval = percent_interval(rate["low"], rate["high"])
    return f"{percent(rate['value'])} ({interval}; n={rate['num_prompts']}{unparsed})"


def _change(change: Json) -> str:
    if change.get("difference") is None:
        return ""
    num_pairs = f"; n={change['num_pairs']}" if change.get("num_pairs") is not None else ""
    return f"{points(change['difference'])} ({points_interval(change['low'], change['high'])}{num_pairs})"


def _section(title: str, paragraphs: Iterator[str]) -> str:
    return "\n\n".join([f"## {title}", *paragraphs])


def _file_name(name: Any) -> str:
    """Return a Hub id or embedded name unchanged, and the last part of a path: a card must not reveal paths."""
    text = str(name).replace("`", "'").replace("\n", " ")
    is_path = not is_packaged(text) and (not _HUB_ID.fullmatch(text) or Path(text).exists())
    return Path(text).name if is_path else text


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
