"""Safety domains as data: the 38 of the paper, or user-defined ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grsap.embedded import resolve
from grsap.errors import ConfigError, DataError
from grsap.files import hash_json
from grsap.yaml_text import read_yaml

PAPER_DOMAINS = Path(__file__).with_name("domains.yaml")
_KEYS = {"name", "definition", "group"}


@dataclass(frozen=True)
class Domain:
    """A kind of harm that queries are written about.

    Attributes:
        name: used in prompts, rows and counts.
        definition: one line, without a full stop.
        group: tables sum the counts of a group's domains.
    """

    name: str
    definition: str
    group: str

    @property
    def slug(self) -> str:
        """The name for ids: lower-case letters, digits and hyphens."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def load_domains(path: str | None = None, names: Sequence[str] | None = None) -> list[Domain]:
    """Read domains.

    Args:
        path: YAML list of `{name, definition, group}`; by default the 38 of the paper. `definition` and `group` default
            to the name.
        names: names of the domains to return, in this order; by default all, in the order of the file.

    Raises:
        DataError: the file is missing or an entry is wrong; names file and entry.
        ConfigError: a name matches no domain (suggests the nearest) or occurs twice, or `names` is empty.
    """
    file = PAPER_DOMAINS if path is None else resolve(path)
    domains = {domain.name: domain for domain in _read(file)}
    if names is None:
        return list(domains.values())
    for name in names:
        if name not in domains:
            close = difflib.get_close_matches(name, domains, 3, 0.5)
            guess = f"Did you mean {' or '.join(map(repr, close))}" if close else f"Domains are {', '.join(domains)}"
            raise ConfigError(f"domain_names: there is no domain {name!r}", guess)
    if len(set(names)) < len(names) or not names:
        raise ConfigError(
            "domain_names is empty" if not names else "domain_names names a domain twice", "Name each domain once"
        )
    return [domains[name] for name in names]


def domains_hash(domains: Sequence[Domain]) -> str:
    """Hash of names, definitions and groups."""
    return hash_json([[each.name, each.definition, each.group] for each in domains])


def _read(path: Path) -> list[Domain]:
    try:
        entries = read_yaml(path)
    except FileNotFoundError as error:
        raise DataError(
            "no such file", "Check domains; the path is relative to the working directory", path=path
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"cannot be read: {reason}", "Give a YAML list of domains", path=path) from error
    if not isinstance(entries, list) or not entries:
        raise DataError("contains no list of domains", "Write `- {name: ..., definition: ..., group: ...}`", path=path)
    domains = [_domain(entry, number, path) for number, entry in enumerate(entries, 1)]
    for key in ("name", "slug"):
        values = [getattr(domain, key) for domain in domains]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise DataError(f"two domains have the {key} {twice!r}", "Rename one", path=path)
    return domains


def _domain(entry: Any, number: int, path: Path) -> Domain:
    ok = isinstance(entry, dict) and set(entry) <= _KEYS and all(isinstance(value, str) for value in entry.values())
    name = entry.get("name", "").strip() if ok else ""
    if not ok or not re.search(r"[A-Za-z0-9]", name):
        raise DataError(
            f"entry {number} is not a domain",
            "Give it a name and, optionally, a definition and a group, all text",
            path=path,
        )
    return Domain(name, " ".join(entry.get("definition", name).split()), entry.get("group", name).strip())
