"""`grsap doctor`: check this machine and the installed packages."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import Version

import grsap
from grsap.commands.invocation import FlagParser
from grsap.commands.quiet import leave_out_known_lines
from grsap.versions import installed_version

Status = Literal["ok", "note", "wrong"]

_MALICIOUS = "a malicious upload: remove it, and change all secrets that were on this machine"
KNOWN_BAD: dict[str, dict[str, str]] = {
    name: {"2.6.2": _MALICIOUS, "2.6.3": _MALICIOUS} for name in ("lightning", "pytorch-lightning")
}
"""Package -> version that must not be installed -> why."""

_EXTRA = re.compile(r"extra == [\"']([\w-]+)[\"']")


@dataclass(frozen=True)
class Finding:
    """One line of the report. `remedy` is set if something is wrong, or if an optional part is missing."""

    name: str
    status: Status
    value: str
    remedy: str = ""


def run(verb: str, args: Sequence[str]) -> int:
    """Print the report; return 0 if nothing is wrong, otherwise 1."""
    parser = FlagParser(prog="grsap doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    given = parser.parse_args(list(args))
    if not given.debug:
        leave_out_known_lines()
    findings = examine()
    if given.json:
        print(json.dumps({"grsap": grsap.__version__, "findings": [asdict(each) for each in findings]}, indent=2))
    else:
        print_findings(findings)
    return 1 if any(each.status == "wrong" for each in findings) else 0


def examine() -> list[Finding]:
    """Run all checks; a check that raises an exception becomes a finding."""
    # Packages first: a malicious release must be reported before it is imported.
    findings = [_python(), *check_packages(own_requirements(), installed_version)]
    if any(each.status == "wrong" for each in findings):
        return findings
    findings += check_extras(own_requirements(), installed_version)
    for check in (_processor, _cuda, _quantization, _embedded_model, _home):
        try:
            findings.append(check())
        except Exception as error:
            findings.append(
                Finding(check.__name__.strip("_"), "wrong", f"{type(error).__name__}: {error}", "Reinstall")
            )
    return findings


def own_requirements() -> list[str]:
    """Return the requirements in grsap's metadata; none if it runs from a source tree without being installed."""
    try:
        return importlib.metadata.requires("grsap") or []
    except importlib.metadata.PackageNotFoundError:
        return []


def check_packages(requirements: Sequence[str], version_of: Callable[[str], str | None]) -> list[Finding]:
    """Compare installed packages with grsap's requirements and with known bad releases.

    Args:
        requirements: lines such as `torch>=2.11`; those of extras are ignored.
        version_of: returns the installed version of a package, or None.
    """
    findings = []
    for package in KNOWN_BAD:
        reason = KNOWN_BAD[package].get(version_of(package) or "")
        if reason:
            findings.append(Finding(package, "wrong", f"{version_of(package)} is {reason}", f"pip uninstall {package}"))
    reported = {each.name for each in findings}
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if requirement.name in reported or (marker is not None and not marker.evaluate({"extra": ""})):
            continue
        version = version_of(requirement.name)
        wanted = f"{requirement.name}{requirement.specifier}"
        if version is None:
            findings.append(Finding(requirement.name, "wrong", "not installed", f"pip install '{wanted}'"))
        elif not requirement.specifier.contains(Version(version), prereleases=True):
            findings.append(
                Finding(requirement.name, "wrong", f"{version} is not supported", f"pip install '{wanted}'")
            )
        else:
            findings.append(Finding(requirement.name, "ok", version))
    return findings


def check_extras(requirements: Sequence[str], version_of: Callable[[str], str | None]) -> list[Finding]:
    """Return one finding per extra about its installed packages; development extras are ignored.

    Args:
        requirements: lines such as `gguf>=0.17; extra == 'quickstart'`; those without an extra are ignored.
        version_of: returns the installed version of a package, or None.
    """
    extras: dict[str, list[Requirement]] = {}
    for requirement in map(Requirement, requirements):
        name = _EXTRA.search(str(requirement.marker or ""))
        if name and name[1] != "dev" and requirement.name != "grsap":
            extras.setdefault(name[1], []).append(requirement)
    findings = []
    for extra, needed in sorted(extras.items()):
        missing = [each.name for each in needed if version_of(each.name) is None]
        installed = ", ".join(f"{each.name} {version_of(each.name)}" for each in needed if each.name not in missing)
        value = f"not installed: {', '.join(missing)}" if missing else installed
        findings.append(Finding(f"extra {extra}", "note" if missing else "ok", value))
    return findings


def _python() -> Finding:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        return Finding("python", "ok", version)
    return Finding("python", "wrong", version, "Use Python 3.11, 3.12 or 3.13")


def _processor() -> Finding:
    from grsap.models.compute import cpu_flags

    fast = sorted(cpu_flags() & {"amx_bf16", "avx512_bf16", "bf16"})
    how = f"bf16 in hardware ({', '.join(fast)})" if fast else "no bf16 in hardware: float32 is used"
    return Finding("processor", "ok", f"{os.cpu_count()} cores, {platform.machine()}, {how}")


def _cuda() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("cuda", "note", "no CUDA device; models of more than about one billion parameters need one")
    cards = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if properties.major >= 8 else "no bf16"
        cards.append(f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {bf16}")
    return Finding("cuda", "ok", "; ".join(cards))


def _quantization() -> Finding:
    """Quantize a small matrix to NF4 and back, on each kind of device."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    results = []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        weight = torch.sin(torch.arange(64 * 64, device=device, dtype=torch.float32)).reshape(64, 64)
        packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
        error = float((dequantize_4bit(packed, state) - weight).abs().max())
        # NF4's widest gap between levels is 0.30 of a block's largest value; rounding is off by at most half of it.
        if packed.numel() != weight.numel() // 2 or not error < 0.2:
            return Finding(
                "nf4", "wrong", f"wrong results on {device} (largest error {error:.2g})", "pip install -U bitsandbytes"
            )
        results.append(f"{device} (largest error {error:.2f} for values in [-1, 1])")
    return Finding("nf4", "ok", f"works on {', '.join(results)}")


def _embedded_model() -> Finding:
    from grsap.models.embedded_model import PACKAGED_MODELS

    name, model = next(iter(PACKAGED_MODELS.items()))
    missing = [each for each in (model.module, "gguf") if importlib.util.find_spec(each) is None]
    if missing:
        return Finding(f"embedded:{name}", "note", f"{' and '.join(missing)} not installed", model.install)
    return Finding(f"embedded:{name}", "ok", f"{model.package} {importlib.metadata.version(model.package)}")


def _home() -> Finding:
    from grsap.models.cache import cache_root

    folder: Path = cache_root()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        return Finding("cache", "wrong", f"{existing} is not writable", "Set XDG_CACHE_HOME to a writable folder")
    return Finding("cache", "ok", str(folder))


def print_findings(findings: Sequence[Finding]) -> None:
    """Print a table of the findings, then each remedy."""
    from rich.table import Table
    from rich.text import Text

    from grsap.console import Console

    console = Console()
    table = Table("", "", "", box=None, show_header=False, pad_edge=False)
    colours: dict[Status, str] = {"ok": "green", "note": "yellow", "wrong": "red"}
    for each in findings:
        table.add_row(Text(each.status, colours[each.status]), each.name, each.value)
    console.print(f"grsap {grsap.__version__}")
    console.print(table)
    for each in findings:
        if each.remedy:
            console.print(Text.assemble((each.status, colours[each.status]), f" {each.name}: {each.remedy}"))
