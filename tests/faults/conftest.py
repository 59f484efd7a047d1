"""Seeds, shares of time and working directories of the fault tests; all but the short ones have the marker `faults`."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.cases import Case
from tests.faults.harness import warm_up
from tests.faults.session import Session

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("FAULT_SEED", str(random.SystemRandom().randrange(10**6)))  # the same in all workers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE) and item.path.stem != "test_in_short":
            item.add_marker("faults")


def pytest_report_header() -> str:
    return f"faults are drawn by FAULT_SEED={os.environ['FAULT_SEED']}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for found in terminalreporter.stats.values() for report in found if hasattr(report, "when")]
    lines = sorted({value for report in reports for name, value in report.user_properties if name == "faults"})
    terminalreporter.section(f"faults, FAULT_SEED={os.environ['FAULT_SEED']}")
    terminalreporter.write("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="session")
def _warm(tiny_base_path: Path) -> None:
    warm_up()


@pytest.fixture
def session(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Iterator[Session]:
    """With `FAULT_SLICE_S` set, all tests together take about so many seconds."""
    total = os.environ.get("FAULT_SLICE_S")
    num_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = None if total is None else float(total) * num_workers / len(request.session.items)
    session = Session(int(os.environ["FAULT_SEED"]), share, request.node.name.removeprefix("test_"))
    yield session
    record_property("faults", str(session))


Place = Callable[[Case, str], Path]


@pytest.fixture
def place(tmp_path: Path, tiny_base_path: Path, _warm: None) -> Place:
    """Makes a working directory with the inputs of a case, by name."""

    def make(case: Case, name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        case.prepare(folder, tiny_base_path)
        return folder

    return make
