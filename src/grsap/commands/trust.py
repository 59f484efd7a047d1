"""Restrict what configs and command lines may import. Settings in checkpoints are never parsed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from jsonargparse import set_parsing_settings

from grsap.commands.blame import TRUSTED_MODULES
from grsap.commands.local_modules import use_local_modules
from grsap.commands.parsing import set_up_parsing
from grsap.errors import ConfigError

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
"""Import paths that settings may always name."""


def restrict_imports(trusted: Iterable[str] = (), folder: Path | None = None) -> None:
    """Let settings name classes of `TRUSTED`, of modules in `folder` and of `trusted` modules only.

    Also: configs are read from files, never from URLs, and values of type `Any` never become objects.

    Args:
        trusted: more modules, from `--trust-module`.
        folder: by default the working directory. Its modules do not hide installed ones.

    Raises:
        ConfigError: a trusted module does not exist.
    """
    local = use_local_modules(Path.cwd() if folder is None else folder)
    set_parsing_settings(
        config_read_mode_urls_enabled=False,
        config_read_mode_fsspec_enabled=False,
        instantiate_subclass_spec_in_any=False,
        import_path_denylist=["*"],
        import_path_allowlist=[*TRUSTED, *local, *(_checked(name) for name in trusted)],
    )
    TRUSTED_MODULES.update(name.partition(".")[0] for name in trusted)
    set_up_parsing()


def _checked(name: str) -> str:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise ConfigError(f"--trust-module {name}: no such module", "Give the dotted name of an installed module")
    return name
