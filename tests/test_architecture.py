"""The shape of the package: layers, third parties, sizes and names. It reads the source; it imports nothing of it,
but for the test of the re-exports."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "grsap"

LAYERS = {
    0: {
        "__init__",
        "records",
        "errors",
        "plugins",
        "disk",
        "files",
        "json_text",
        "labels",
        "turns",
        "differences",
        "appending",
        "checksums",
        "versions",
        "streams",
        "secure_open",
        "repository",
        "search_path",
        "thoughts",
    },
    1: {
        "result_log",
        "text",
        "metrics",
        "yaml_text",
        "embedded",
        "console",
        "progress",
        "response_logprobs",
        "pages",
        "compat",
    },
    2: {"generation", "judging", "models", "objectives", "embedding"},
    3: {"synthesis", "curation", "importing", "data", "measurement", "runs"},
    4: {"training", "callbacks", "evaluation", "similarity", "reporting", "study"},
    5: {"cli", "commands", "__main__"},
}
LAYER_OF = {unit: layer for layer, units in LAYERS.items() for unit in units}

# Who may import a third party, by unit (or by file, where only one may).
# The step's two files name the types of the model and of PEFT's settings, which a config gives as they are.
STEP = {"training/module.py", "training/forward.py"}
# embedding loads the packaged MiniLM by transformers, which needs no further package.
MAY_IMPORT = {
    "lightning": {"data", "training", "callbacks", "cli", "commands"},
    "transformers": {"models", "generation", "judging", "text", "embedding"} | STEP,
    "peft": {"models", "generation", "judging", "text", "training/settings_checks.py"} | STEP,
    "bitsandbytes": {"models", "generation", "judging", "text", "commands/doctor.py"},  # doctor tries it out
    "jsonargparse": {"commands"},
    "matplotlib": {"pages/drawing.py", "pages/charts.py", "pages/bars.py"},  # the last two for its types alone
}

for _units in MAY_IMPORT.values():
    _units.add("compat")  # private names of all of them

# Packages whose abstract classes a config may fill in.
PLUGGABLE = ("objectives", "judging", "generation", "synthesis", "evaluation", "embedding", "curation")

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80
MAX_CONSTRUCTOR_PARAMETERS = 8
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "v2", "new", "old", "final"}

FILES = sorted(SOURCE.rglob("*.py"))


def unit_of(path: Path) -> str:
    """The package or top-level module that a file belongs to."""
    relative = path.relative_to(SOURCE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: Path) -> Iterator[str]:
    """The dotted names of all that a file imports, and of the modules it is from; in functions and under TYPE_CHECKING
    too."""
    package = ["grsap", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from (name, *(f"{name}.{alias.name}" for alias in node.names))


def imported_units(path: Path) -> set[str]:
    """The units of grsap that a file imports."""
    names = (name.split(".") for name in imports_of(path))
    units = {parts[1] for parts in names if parts[0] == "grsap" and len(parts) > 1}
    return {unit for unit in units if not unit.startswith("__version")} - {unit_of(path)}


def parametrize_files(files: list[Path] = FILES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", files, ids=lambda path: str(path.relative_to(SOURCE)))


def test_all_units_have_a_layer() -> None:
    assert {unit_of(path) for path in FILES} <= set(LAYER_OF)


@parametrize_files()
def test_imports_point_down(path: Path) -> None:
    layer = LAYER_OF[unit_of(path)]
    above = {unit for unit in imported_units(path) if LAYER_OF[unit] > layer}
    assert above == set(), f"{path.name} is in layer {layer} and imports from above"


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_units_do_not_import_in_circles() -> None:
    edges: dict[str, set[str]] = {}
    for path in FILES:
        edges.setdefault(unit_of(path), set()).update(imported_units(path))
    TopologicalSorter(edges).prepare()  # raises CycleError


def test_files_do_not_import_in_circles() -> None:
    modules = {module_of(path) for path in FILES}
    edges = {module_of(path): modules.intersection(imports_of(path)) for path in FILES}
    TopologicalSorter(edges).prepare()  # raises CycleError


@parametrize_files([path for path in FILES if LAYER_OF[unit_of(path)] == 0])
def test_the_lowest_layer_needs_the_standard_library_and_file_locks_only(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports_of(path)}
    assert roots - set(sys.stdlib_module_names) <= {"grsap", "filelock"}


@parametrize_files()
def test_third_parties_stay_in_their_place(path: Path) -> None:
    place = {unit_of(path), path.relative_to(SOURCE).as_posix()}
    roots = {name.split(".")[0] for name in imports_of(path)}
    assert [root for root in sorted(roots & set(MAY_IMPORT)) if not place & MAY_IMPORT[root]] == []


def test_text_reaches_the_terminal_through_one_console() -> None:
    """The others would take names for markup, and let their control characters through."""
    others = {"rich", "rich.console", "rich.logging", "rich.markup", "rich.prompt"}
    importing = {path.relative_to(SOURCE).as_posix() for path in FILES if others & set(imports_of(path))}
    assert importing == {"console.py"}
    assert [path.name for path in FILES if "from_markup" in path.read_text(encoding="utf-8")] == []


def test_training_does_not_know_where_replay_sets_come_from() -> None:
    for path in FILES:
        if unit_of(path) in {"training", "callbacks", "data"}:
            assert imported_units(path) & {"synthesis", "curation", "importing"} == set(), path


@parametrize_files()
def test_sizes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno + 1 <= MAX_FUNCTION_LINES, f"{node.name} is too long"
            if node.name == "__init__":
                arguments = node.args
                parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs][1:]
                assert len(parameters) <= MAX_CONSTRUCTOR_PARAMETERS, f"a constructor takes {len(parameters)}"


@parametrize_files()
def test_names_say_something(path: Path) -> None:
    words = {word for part in path.relative_to(SOURCE).with_suffix("").parts for word in part.split("_")}
    assert words & FORBIDDEN_NAMES == set()


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


@cache
def defined_names(path: Path) -> set[str]:
    """Names of functions, classes, variables and attributes of `self` that a file defines."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_of_self(node.value):
            found.add(node.attr)
    return found


@cache
def defined_names_of_all() -> set[str]:
    return set().union(*map(defined_names, FILES))


def is_of_self(owner: ast.expr) -> bool:
    owner = owner.func if isinstance(owner, ast.Call) else owner  # super()
    return isinstance(owner, ast.Name) and owner.id in ("self", "cls", "super")


def private_names_of_others(path: Path) -> Iterator[str]:
    """Private names that a file uses and grsap does not define: by attribute, by import, or by `getattr`."""
    in_file, in_package = defined_names(path), defined_names_of_all()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            is_documented = isinstance(node.value, ast.Name) and node.value.id in ("sys", "os")
            if not is_documented and node.attr not in (in_package if is_of_self(node.value) else in_file):
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from filter(is_private, names)
        elif isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split(".") if is_private(part))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            name = getattr(node.args[1], "value", None)
            if node.func.id in ("getattr", "setattr", "hasattr") and isinstance(name, str) and is_private(name):
                yield name


@parametrize_files([path for path in FILES if path.name != "compat.py"])
def test_private_names_of_other_packages_are_in_compat_alone(path: Path) -> None:
    assert list(private_names_of_others(path)) == []


def test_no_class_overrides_a_private_method_of_another_package() -> None:
    overridden = []
    for module in pkgutil.walk_packages([str(SOURCE)], "grsap."):
        if module.name.endswith("__main__"):
            continue
        for cls in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(cls) and cls.__module__ == module.name:
                others = [base for base in cls.__mro__ if base.__module__.split(".")[0] not in ("grsap", "typing")]
                mine = {name for name, value in vars(cls).items() if is_private(name) and inspect.isfunction(value)}
                taken = {name for name in mine for base in others if name in vars(base)}
                overridden += [
                    f"{cls.__name__}.{name}" for name in sorted(taken) if vars(cls)[name].__module__ == module.name
                ]
    assert overridden == []


def test_short_names_of_all_pluggable_classes() -> None:
    """A class that a config may name is found by its short name once its package is imported."""
    from lightning.pytorch import Callback, LightningDataModule

    packages = {}
    for module in pkgutil.walk_packages([str(SOURCE)], "grsap."):
        if not module.name.endswith("__main__"):
            packages[module.name] = importlib.import_module(module.name)
    bases = (Callback, LightningDataModule, *own_bases(*(packages[f"grsap.{name}"] for name in PLUGGABLE)))
    missing = []
    for name, module in packages.items():
        for cls in vars(module).values():
            defined_here = inspect.isclass(cls) and cls.__module__ == name and not cls.__name__.startswith("_")
            if defined_here and issubclass(cls, bases) and not inspect.isabstract(cls):
                unit = ".".join(name.split(".")[:2])
                if getattr(packages[unit], cls.__name__, None) is not cls:
                    missing.append(f"{unit}.{cls.__name__}")
    assert missing == []


def own_bases(*packages: object) -> tuple[type, ...]:
    """The abstract classes that packages export."""
    return tuple(
        value
        for package in packages
        for value in vars(package).values()
        if inspect.isclass(value) and inspect.isabstract(value)
    )
