"""The section on provenance: versions, seeds, hashes and machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grsap.pages import Content, Section, element, facts
from grsap.reporting.sources import Source, reading
from grsap.runs.summary_table import restored_lines

Pairs = list[tuple[Content, Content]]


def provenance(sources: Sequence[Source]) -> Section:
    """Return the facts in the manifest of each folder."""
    content: list[Content] = []
    for source in sources:
        with reading(source):
            content += [element("h3", f"{source.name} ({source.kind})"), facts(_facts(source))]
    return Section("provenance", "Where the numbers come from", content)


def _facts(source: Source) -> Pairs:
    manifest, result = source.manifest, source.result
    data, git = manifest.get("data") or {}, manifest.get("git") or {}
    own = next((each[key] for each in (manifest, result) for key in ("grsap_version", "grsap") if each.get(key)), None)
    python = [f"Python {manifest['python']}"] if manifest.get("python") else []
    machine = [*python, *([manifest["platform"]] if manifest.get("platform") else []), *(manifest.get("devices") or [])]
    code = [element("code", str(git["commit"])), " with changes" if git.get("dirty") else ""] if git else None
    command = " ".join(["grsap", *map(str, manifest["command"][1:])]) if manifest.get("command") else None
    judges = result.get("judges") or manifest.get("judges") or []
    input_hash = (manifest.get("input") or {}).get("hash") or result.get("inputs_hash")
    pairs: list[tuple[str, Any]] = [
        ("schema", result.get("schema") or manifest.get("schema")),
        ("status", result.get("status") or manifest.get("status")),
        ("ended by", result.get("stop_reason")),
        ("restored", ". ".join(restored_lines(result))),
        ("started", ", ".join(map(str, manifest.get("starts") or []))),
        ("ended", manifest.get("ended")),
        ("seed", manifest.get("seed", result.get("seed"))),
        ("seeds", _listed(manifest.get("seeds"))),
        ("base model", _described(manifest.get("base"))),
        ("generator", _described(manifest.get("generator"))),
        *((name, _described(model)) for name, model in (manifest.get("models") or {}).items()),
        *((name, _described(result.get(name))) for name in ("embedder", "model")),
        *(("judge", _described(judge)) for judge in judges),
        ("chat template", _hash(manifest.get("template_hash"))),
        ("data fingerprint", _hash(data.get("fingerprint"))),
        ("input", _hash(input_hash)),
        ("files", _files(manifest.get("files"))),
        ("adapter", _files(manifest.get("adapter"))),
        ("versions", _listed({"grsap": own, **(manifest.get("versions") or manifest.get("packages") or {})})),
        ("machine", ", ".join(map(str, machine))),
        ("code", code),
        ("command", _hash(command)),
    ]
    return [(name, str(value) if isinstance(value, int) else value) for name, value in pairs if value not in (None, "")]


def _listed(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items() if value is not None)


def _described(values: Any) -> Content:
    """Format a model or judge as `key value` pairs in one line."""
    if not isinstance(values, Mapping):
        return None if values is None else str(values)
    return ", ".join(f"{name} {_plain(value)}" for name, value in values.items() if value not in (None, [], {}))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_plain(child)}" for key, child in value.items() if child is not None) + ")"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _hash(value: Any) -> Content:
    return element("code", str(value)) if value else None


def _files(files: Mapping[str, Any] | None) -> Content:
    lines = []
    for file, entry in (files or {}).items():
        digest = entry.get("hash") if isinstance(entry, Mapping) else entry
        lines.append(element("li", f"{file} ", element("code", str(digest))))
    return element("ul", lines) if lines else None
