"""Model folders that are made once, whoever asks first."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from grsap.models.cache import cached_folder


def test_one_makes_it_and_the_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def fill(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.2)
        (folder / "config.json").write_text("{}")

    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: cached_folder("model", fill), range(4)))
    assert len(made) == 1
    assert set(folders) == {tmp_path / "grsap" / "models" / "model"}
    assert (folders[0] / "config.json").read_text() == "{}"
