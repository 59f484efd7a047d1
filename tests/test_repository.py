"""The commit of a working directory that may come from anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from grsap.repository import git_state

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    repository = tmp_path / "repository"
    repository.mkdir()
    (tmp_path / "home").mkdir()

    def run(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *words], cwd=repository, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return run


@pytest.fixture
def repository(git: Git, tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    git("init", "-q")
    (folder / "a").write_text("1")
    git("add", "a")
    git("commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that leaves a trace if it runs."""
    file = tmp_path / "program"
    file.write_text(f"#!/bin/sh\n{shutil.which('touch')} {tmp_path}/ran\n{shutil.which('cat')}\n")
    file.chmod(0o755)
    return file


def test_commit_and_changes(git: Git, repository: Path, tmp_path: Path) -> None:
    commit = git("rev-parse", "HEAD")
    assert git_state(tmp_path) is None
    assert git_state(repository) == {"commit": commit, "dirty": False}
    (repository / "untracked").write_text("1")
    assert git_state(repository) == {"commit": commit, "dirty": False}
    (repository / "a").write_text("2")
    assert git_state(repository) == {"commit": commit, "dirty": True}
    git("add", "a")
    assert git_state(repository) == {"commit": commit, "dirty": True}


def test_no_commit_yet(git: Git, tmp_path: Path) -> None:
    git("init", "-q")
    assert git_state(tmp_path / "repository") is None


def changed_in_time_only(repository: Path) -> None:
    """Git must look into the file to know whether it changed."""
    os.utime(repository / "a", (0, 0))


@pytest.mark.parametrize(
    "key",
    ["core.fsmonitor", "core.pager", "pager.status", "core.editor", "diff.external", "core.sshCommand", "gpg.program"],
)
def test_no_program_of_the_configuration_runs(key: str, git: Git, repository: Path, program: Path) -> None:
    commit = git("rev-parse", "HEAD")
    git("config", key, str(program))
    changed_in_time_only(repository)
    assert git_state(repository) == {"commit": commit, "dirty": False}
    assert not (program.parent / "ran").exists()


def test_no_hook_runs(git: Git, repository: Path, program: Path) -> None:
    for hook in ("post-index-change", "fsmonitor-watchman", "reference-transaction", "post-checkout"):
        (repository / ".git" / "hooks" / hook).write_bytes(program.read_bytes())
        (repository / ".git" / "hooks" / hook).chmod(0o755)
    git("config", "core.hooksPath", str(repository / ".git" / "hooks"))
    (program.parent / "ran").unlink(missing_ok=True)
    changed_in_time_only(repository)
    assert git_state(repository) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert not (program.parent / "ran").exists()


@pytest.mark.parametrize("kind", ["clean", "process", "smudge"])
@pytest.mark.parametrize("place", ["config", "include", "worktree"])
def test_no_filter_of_the_repository_runs(kind: str, place: str, git: Git, repository: Path, program: Path) -> None:
    commit = git("rev-parse", "HEAD")
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "attributes").write_text("* filter=x\n")
    if place == "config":
        git("config", f"filter.x.{kind}", str(program))
    elif place == "include":
        git("config", "-f", str(repository / "more"), f"filter.x.{kind}", str(program))
        git("config", "include.path", str(repository / "more"))
    else:
        git("config", "extensions.worktreeConfig", "true")
        git("config", "--worktree", f"filter.x.{kind}", str(program))
    changed_in_time_only(repository)
    assert git_state(repository) == {"commit": commit, "dirty": None}
    assert not (program.parent / "ran").exists()


def test_a_filter_of_the_user_is_trusted(git: Git, repository: Path) -> None:
    git("config", "--global", "filter.lfs.clean", "cat")
    assert git_state(repository) == {"commit": git("rev-parse", "HEAD"), "dirty": False}


def test_a_git_of_the_working_directory_is_not_called(
    repository: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "git").write_bytes(program.read_bytes())
    (repository / "git").chmod(0o755)
    monkeypatch.chdir(repository)
    for path in ("", ".", f".{os.pathsep}/nowhere"):
        monkeypatch.setenv("PATH", path)
        assert git_state(repository) is None
    assert not (program.parent / "ran").exists()


def test_variables_of_git_do_not_lead_elsewhere(
    git: Git, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git("rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.fsmonitor=true'")
    assert git_state(repository) == {"commit": commit, "dirty": False}
