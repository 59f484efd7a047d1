"""Provenance: versions, seeds, hashes and machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grsap.pages import Content, Section, element, facts
from grsap.reporting.sources import Source, reading

Pairs = list[tuple[Content, Content]]


def provenance(sources: Sequence[Source]) -> Section:
    """The facts in the manifest of each folder."""
    content: list[Content] = []
    for source in sources:
        with reading(source):
            content += [element("h3", f"{source.name} ({source.kind})"), facts(_facts(source))]
    return Section("provenance", "Where the numbers come from", content)


def _facts(source: Source) -> Pairs:
    manifest, result = source.manifest, source.result
    pairs: Pairs = [("schema", str(result.get("schema") or manifest.get("schema")))]
    status = result.get("status") or manifest.get("status")
    if status:
        pairs.append(("status", str(status)))
    pairs += _named("ended by", result.get("stop_reason"))
    pairs += _times(manifest)
    pairs += _named("seed", manifest.get("seed", result.get("seed")))
    pairs += _named("seeds", _listed(manifest.get("seeds")))
    pairs += _named("base model", _described(manifest.get("base")))
    pairs += _named("generator", _described(manifest.get("generator")))
    for name, model in (manifest.get("models") or {}).items():
        pairs += _named(name, _described(model))
    for name in ("embedder", "model"):
        pairs += _named(name, _described(result.get(name)))
    for judge in result.get("judges") or manifest.get("judges") or []:
        pairs += _named("judge", _described(judge))
    pairs += _named("chat template", _hash(manifest.get("template_hash")))
    data = manifest.get("data") or {}
    pairs += _named("data fingerprint", _hash(data.get("fingerprint")))
    pairs += _named("input", _hash((manifest.get("input") or {}).get("hash") or result.get("inputs_hash")))
    pairs += _files("files", manifest.get("files"))
    pairs += _files("adapter", manifest.get("adapter"))
    versions = manifest.get("versions") or manifest.get("packages") or {}
    own = {
        "grsap": manifest.get("grsap_version")
        or manifest.get("grsap")
        or result.get("grsap_version")
        or result.get("grsap")
    }
    pairs += _named("versions", _listed({**{k: v for k, v in own.items() if v}, **versions}))
    machine = [str(manifest[key]) for key in ("python", "platform") if manifest.get(key)]
    pairs += _named(
        "machine",
        ", ".join(
            [*([f"Python {machine[0]}", *machine[1:]] if machine else []), *map(str, manifest.get("devices") or [])]
        ),
    )
    git = manifest.get("git")
    if git:
        pairs.append(("code", [element("code", str(git["commit"])), " with changes" if git.get("dirty") else ""]))
    command = manifest.get("command")
    if command:
        pairs.append(("command", element("code", " ".join(["grsap", *map(str, command[1:])]))))
    return pairs


def _times(manifest: Mapping[str, Any]) -> Pairs:
    starts, ended = manifest.get("starts") or [], manifest.get("ended")
    pairs: Pairs = [("started", ", ".join(map(str, starts)))] if starts else []
    return [*pairs, *([("ended", str(ended))] if ended else [])]


def _named(name: str, value: Content) -> Pairs:
    return [] if value is None or value == "" else [(name, str(value) if isinstance(value, int) else value)]


def _listed(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items() if value is not None)


def _described(values: Any) -> Content:
    """A model or judge as flat `key value` pairs."""
    if not isinstance(values, Mapping):
        return None if values is None else str(values)
    return ", ".join(f"{name} {_plain(value)}" for name, value in values.items() if value not in (None, [], {}))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_plain(child)}" for key, child in value.items() if child is not None) + ")"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _hash(value: Any) -> Content:
    return element("code", str(value)) if value else None


def _files(name: str, files: Mapping[str, Any] | None) -> Pairs:
    lines = []
    for file, entry in (files or {}).items():
        digest = entry.get("hash") if isinstance(entry, Mapping) else entry
        lines.append(element("li", f"{file} ", element("code", str(digest))))
    return [(name, element("ul", lines))] if lines else []
