"""Which modules a config or a command line may name. A checkpoint may name none: nothing of it is ever parsed."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import set_dumper, set_loader, set_parsing_settings

from grsap.commands.merging import merge_by_class
from grsap.errors import ConfigError
from grsap.yaml_text import dump_yaml, load_yaml

TRUSTED = (
    "grsap",
    "bitsandbytes.optim",
    "lightning.pytorch.accelerators",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
    "lightning.pytorch.plugins",
    "lightning.pytorch.profilers",
    "lightning.pytorch.strategies",
    "peft",
    "torch.optim",
    "torchmetrics",
)
"""Import paths that settings may name without being asked."""


def restrict_imports(trusted: Iterable[str] = (), folder: Path | None = None) -> None:
    """Let settings name classes of grsap, of a few libraries, of `folder` and of `trusted` modules, and no others.

    Configs are read from files only, never from addresses; `Any` never becomes an object.

    Args:
        trusted: more modules, from `--trust-module`.
        folder: the working directory, whose modules are added at the end of `sys.path`: they hide no installed one.

    Raises:
        ConfigError: a trusted module does not exist.
    """
    folder = Path.cwd() if folder is None else folder
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    set_parsing_settings(
        config_read_mode_urls_enabled=False,
        config_read_mode_fsspec_enabled=False,
        instantiate_subclass_spec_in_any=False,
        import_path_denylist=["*"],
        import_path_allowlist=[*TRUSTED, *local_modules(folder), *(_checked(name) for name in trusted)],
    )
    set_loader("yaml", load_setting, exceptions=(yaml.YAMLError,))
    set_dumper("yaml", dump_yaml)
    merge_by_class()


def load_setting(text: str) -> Any:
    """A setting's value as YAML. A text in braces, such as `{model.path}` of a study, is no mapping of nulls.

    Raises:
        yaml.YAMLError: see `load_yaml`.
    """
    value = load_yaml(text)
    if isinstance(value, dict) and value and all(each is None for each in value.values()):
        is_text = text.lstrip().startswith("{") or text.strip() == f"{next(iter(value))}:"
        return text if is_text else value
    return value


def local_modules(folder: Path) -> list[str]:
    """Top-level modules and packages that Python finds in `folder` itself, and not installed elsewhere first."""
    names = {file.stem for file in folder.glob("*.py")}
    names |= {child.name for child in folder.iterdir() if child.is_dir() and any(child.glob("*.py"))}
    return sorted(name for name in names if name.isidentifier() and _is_found_in(name, folder))


def _is_found_in(name: str, folder: Path) -> bool:
    if name in sys.builtin_module_names or name in sys.stdlib_module_names:
        return False
    here = importlib.machinery.PathFinder.find_spec(name, [str(folder)])
    found = importlib.util.find_spec(name)
    if here is None or found is None:
        return False
    places = list(here.submodule_search_locations or []), list(found.submodule_search_locations or [])
    return here.origin == found.origin and places[0] == places[1]


def _checked(name: str) -> str:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise ConfigError(f"--trust-module {name}: no such module", "Give the dotted name of an installed module")
    return name
