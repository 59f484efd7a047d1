"""docs/coming_from.md: its config parses, and the keys of its tables are keys of grsap."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import yaml

from grsap.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "coming_from.md").read_text()
CONFIG = re.search(r"^```yaml my\.yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
KEYS = sorted(set(re.findall(r"`((?:model|data|encoding|trainer)(?:\.\w+)+)", PAGE)))


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict:
    assert CONFIG is not None
    path = tmp_path_factory.mktemp("page") / "my.yaml"
    path.write_text(CONFIG[1])
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert main(["fit", "--config", str(path), "--print_config"]) == 0
    return yaml.safe_load(text.getvalue())


def test_the_config_is_read_as_it_stands(printed: dict) -> None:
    assert printed["model"]["base"]["path"] == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert printed["model"]["schedule"]["init_args"] == {"warmup_ratio": 0.03, "floor": 0.0}
    assert printed["data"]["sampler"]["init_args"]["replay_ratio"] == 0.1
    assert printed["data"]["batching"]["global_batch_size"] == 64
    assert [each["class_path"].rpartition(".")[2] for each in printed["trainer"]["callbacks"]] == ["HarmfulnessCheck"]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_the_tables_exists(printed: dict, key: str) -> None:
    place = printed["data"] if key.startswith("encoding.") else printed
    for part in key.split("."):
        place = place.get("init_args", place)
        assert part in place, key
        place = place[part]


def test_the_tables_name_keys() -> None:
    assert {"model.base.quantization", "data.encoding.loss_on", "data.replay.path", "encoding.over_length"} <= set(KEYS)
