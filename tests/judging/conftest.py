from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a line that stands in the output of a passing run too."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return say
