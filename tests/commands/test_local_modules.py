"""A working directory that comes from anywhere: nothing in it runs unless settings name it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
import yaml

from grsap.commands.local_modules import LocalModuleFinder, use_local_modules
from grsap.embedded import resolve
from grsap.search_path import leave_working_directory

OPTIONAL = ("opt_einsum", "ipywidgets", "flash_attn", "vllm", "liger_kernel", "lm_eval", "sitecustomize", "tensorboard")
"""Some that libraries import if they are there."""


@pytest.fixture
def meta_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("options", "hidden", "words", "told"),
    [
        # As the command `grsap` starts. Its stage is a process of its own, with the same traps.
        (["-P"], sys.stdlib_module_names, [], "1 stages are done: 1 now, 0 before."),
        # `python -m` imports from the standard library itself, before any line of grsap runs.
        ([], (), ["--dry-run"], "Dry run: nothing was run, fetched or written."),
    ],
    ids=["study and stage", "python -m"],
)
def test_no_module_of_the_working_directory_runs(
    options: list[str], hidden: Collection[str], words: list[str], told: str, tmp_path: Path
) -> None:
    """A study in a folder with a trap for each module that is installed, or that libraries import if it is."""
    installed = {name for name in importlib.metadata.packages_distributions() if name.isidentifier()}
    for name in {*installed, *hidden, *OPTIONAL}:
        (tmp_path / f"{name}.py").write_text(f"open('ran_{name}', 'w').close()\nraise SystemExit('ran {name}')\n")
    (tmp_path / "rows.jsonl").write_text(resolve("embedded:quickstart/replay.jsonl").read_text().splitlines()[0] + "\n")
    settings = {"source": {"path": "rows.jsonl"}, "columns": {"messages": "messages"}}
    stages = [{"name": "import", "verb": "import", "settings": settings}]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"output_dir": "out", "stages": stages, "goals": ["import"]}))
    done = subprocess.run(
        [sys.executable, *options, "-m", "grsap", "study", "--config", "study.yaml", *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [path.name for path in tmp_path.glob("ran_*")] == []
    assert (done.returncode, (done.stdout + done.stderr).splitlines()[-1]) == (0, told)


def test_the_working_directory_leaves_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), "/elsewhere", str(tmp_path / "link"), ".", "link/below"])
    leave_working_directory()
    assert sys.path == ["/elsewhere", "link/below"]
    assert os.environ["PYTHONSAFEPATH"] == "1"


@pytest.mark.usefixtures("meta_path")
def test_settings_and_local_modules_may_import_and_libraries_may_not(tmp_path: Path) -> None:
    (tmp_path / "local_task.py").write_text("import local_part\n\ndef late():\n    import local_late\n")
    for name in ("local_part", "local_late", "local_other"):
        (tmp_path / f"{name}.py").write_text("")
    assert use_local_modules(tmp_path) == ["local_late", "local_other", "local_part", "local_task"]
    assert importlib.util.find_spec("local_other") is None  # this test is no part of the folder

    library = tmp_path / ".venv" / "library.py"
    library.parent.mkdir()
    library.write_text("import importlib\n\ndef probe(name):\n    return importlib.import_module(name)\n")
    spec = importlib.util.spec_from_file_location("library", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(ModuleNotFoundError):
        module.probe("local_other")

    parser = {"__name__": "jsonargparse._util"}
    exec("import local_task\nlocal_task.late()", parser)
    assert {"local_task", "local_part", "local_late"} <= set(sys.modules)
    assert "local_other" not in sys.modules


@pytest.mark.usefixtures("meta_path")
def test_only_the_last_folder_counts(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"only_{name}.py").write_text("")
        assert use_local_modules(tmp_path / name) == [f"only_{name}"]
    assert [type(each) for each in sys.meta_path].count(LocalModuleFinder) == 1
    with pytest.raises(ModuleNotFoundError):
        exec("import only_first", {"__name__": "jsonargparse"})
