"""The section on settings: differences between runs, and all settings of each run in a fold-out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from grsap.pages import Content, Element, Section, element, hidden, table
from grsap.pages.text_block import quoted
from grsap.reporting.run import Run

NOT_COMPARED = ("run_dir", "config", "trainer.default_root_dir")
ABSENT = "–"
MAX_CONFIG = 20_000


def configuration(runs: Sequence[Run]) -> Section | None:
    """Return a table with a row per setting that differs between runs; None if no run recorded its settings."""
    known = [run for run in runs if run.config]
    if not known:
        return None
    content: list[Content] = []
    if len(known) > 1:
        content.append(_differences(known))
    content += [hidden(f"All settings of {run.name}", quoted(_yaml(run.config), MAX_CONFIG)) for run in known]
    return Section("settings", "Settings", content)


def _differences(runs: Sequence[Run]) -> Element:
    settings = [dict(_leaves(run.config)) for run in runs]
    keys = dict.fromkeys(key for each in settings for key in each)
    rows: list[list[Content]] = []
    for key in keys:
        values = [each.get(key, ABSENT) for each in settings]
        if len(set(values)) > 1:
            rows.append([element("code", key), *(element("code", value) for value in values)])
    if not rows:
        return element("p", "The runs have the same settings.")
    caption = "Settings that differ between the runs. Members of lists are named by their class. “–”: null, or not set."
    return table(caption, ["setting", *(run.name for run in runs)], rows, text_columns=len(runs) + 1)


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value as text). List members are keyed by class: adding one shifts no others."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            name = f"{prefix}.{key}" if prefix else str(key)
            if name not in NOT_COMPARED:
                yield from _leaves(child, name)
    elif isinstance(value, list) and any(isinstance(child, dict) for child in value):
        seen: dict[str, int] = {}
        for child in value:
            name = _member_name(child)
            seen[name] = seen.get(name, 0) + 1
            yield from _leaves(child, f"{prefix}[{name}{'' if seen[name] == 1 else f' {seen[name]}'}]")
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        yield prefix, ABSENT if value is None else text


def _member_name(child: Any) -> str:
    if not isinstance(child, dict):
        return str(child)
    name = str(child.get("class_path", "")).rpartition(".")[2]
    source = (child.get("init_args") or {}).get("source") if isinstance(child.get("init_args"), dict) else None
    return f"{name} {source}" if source else name


def _yaml(config: Any) -> str:
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100)
