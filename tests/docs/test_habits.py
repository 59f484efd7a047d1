"""Files that hosts and tools read: workflows, hooks, issue forms, the citation. Each names what exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.page_blocks import ROOT

import grsap

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read(path: Path) -> dict[Any, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def steps_of(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_what_its_host_needs(path: Path) -> None:
    workflow = read(path)
    assert set(workflow) <= {"name", True, "permissions", "concurrency", "jobs"}  # YAML 1.1 reads `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "runs-on" in job, name
        assert {job.get("needs")} - {None} <= set(workflow["jobs"])
    for step in steps_of(path):
        assert ("run" in step) != ("uses" in step), step
        assert re.fullmatch(r"[\w-]+/[\w-]+@[\w./-]+", step.get("uses", "a/b@v1")), step


def test_workflows_call_targets_that_exist_on_the_python_that_was_set_up() -> None:
    commands = [step["run"] for path in WORKFLOWS for step in steps_of(path) if "run" in step]
    calls = [command for command in commands if command.startswith("make ")]
    assert {call.split()[1] for call in calls} == {"check", "test", "test-minimum", "docs", "release", "sbom"}
    assert {call.split()[1] for call in calls} <= TARGETS
    assert all(call.endswith(" PYTHON=python") for call in calls)


def test_each_supported_python_is_tested() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    supported = re.findall(r"Python :: (3\.\d+)", project)
    assert read(ROOT / ".github/workflows/test.yml")["jobs"]["pinned"]["strategy"]["matrix"]["python"] == supported


def test_a_release_is_published_without_a_stored_password() -> None:
    publish = read(ROOT / ".github/workflows/release.yml")["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text()


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_fields_of_known_kinds(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    for field in form["body"]:
        assert field["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert "value" in field["attributes"] if field["type"] == "markdown" else field["attributes"]["label"]


def test_hooks_run_the_pinned_versions() -> None:
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    ruff, local = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert ruff["rev"] == f"v{pins['ruff']}"
    assert [hook["id"] for hook in [*ruff["hooks"], *local["hooks"]]] == ["ruff-check", "ruff-format", "mypy"]


def test_the_citation_is_of_this_version() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert citation["version"] == grsap.__version__
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] in (ROOT / "pyproject.toml").read_text()
