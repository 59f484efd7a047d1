"""Versions of installed packages. Standard library only."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable


def installed_version(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def installed_versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Return package -> its version; None for packages that are not installed."""
    return {name: installed_version(name) for name in packages}
