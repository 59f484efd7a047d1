"""The classes of docs/howto in more cases than their pages show; tests/docs/test_howto.py runs the pages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ArgumentParser
from tests.page_blocks import BLOCK, ROOT

from grsap.cli import main
from grsap.commands.trust import restrict_imports
from grsap.errors import DataError
from grsap.evaluation import Benchmark, load_benchmark
from grsap.generation import (
    GenerationRequest,
    Generator,
    OpenAIGenerator,
    SamplingSettings,
    TransformersGenerator,
    VLLMGenerator,
)

MAX_LINES = 35


def blocks_of(kind: str) -> dict[str, str]:
    """The files of a page, by name."""
    text = (ROOT / "docs" / "howto" / f"{kind}.md").read_text(encoding="utf-8")
    return {name: body for language, name, body in BLOCK.findall(text) if name and language != "diff"}


def from_config(config: dict[str, Any]) -> Generator:
    """The generator of a config, as commands make it."""
    restrict_imports()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--generator", type=Generator)
    made = parser.instantiate_classes(parser.parse_object(config)).generator
    assert isinstance(made, Generator)
    return made


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("my_backend", "my_filter", "my_benchmark"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_a_backend_of_ones_own(working_directory: Path, tiny_base_path: Path) -> None:
    blocks = blocks_of("backend")
    code = blocks["my_backend.py"]
    assert len([line for line in code.splitlines() if line.strip()]) < MAX_LINES
    (working_directory / "my_backend.py").write_text(code)
    rows = [{"prompt": "two and two", "response": "are four"}, {"prompt": "The sky", "response": "is blue."}]
    (working_directory / "my_answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = yaml.safe_load(blocks["my.yaml"].replace("embedded:smollm2-135m-instruct", str(tiny_base_path)))
    generator = from_config({"generator": config["subjects"][0]["init_args"]["generator"]})
    asked = [
        GenerationRequest(text, tuple(generator.template.prompt_ids([{"role": "user", "content": text}])))
        for text in ("The sky", "two and two")
    ]
    answers = generator.generate(asked, SamplingSettings())
    assert [(answer.id, answer.text, answer.finish_reason) for answer in answers] == [
        ("The sky", "is blue.", "stop"),
        ("two and two", "are four", "stop"),
    ]
    (cut,) = generator.generate(asked[:1], SamplingSettings(1))
    assert (len(cut.token_ids), cut.finish_reason) == (1, "length")
    assert generator.identity() == {"backend": "RecordedGenerator"}
    with pytest.raises(DataError, match="request x is not recorded"):
        generator.generate([GenerationRequest("x", (5,))], SamplingSettings())


def test_the_backends_that_come_with_grsap_by_their_short_names(tiny_base_path: Path) -> None:
    base = {"path": str(tiny_base_path), "quantization": "none"}
    server = {
        "base_url": "http://127.0.0.1:8000/v1",
        "model": "tiny",
        "tokenizer": {"path": str(tiny_base_path)},
        "server": {"concurrency": 8, "give_up_after_s": 60},
        "prompt_format": "ids",
    }
    configs = [
        (TransformersGenerator, {"base": base, "device": "cpu"}),
        (VLLMGenerator, {"base": base, "engine": {"max_model_len": 512}}),
        (OpenAIGenerator, server),
    ]
    for cls, arguments in configs:
        made = from_config({"generator": {"class_path": cls.__name__, "init_args": arguments}})
        assert type(made) is cls
    assert isinstance(made, OpenAIGenerator)
    assert (made.server.concurrency, made.server.timeout_s, made.prompt_format) == (8, 600.0, "ids")


def test_a_filter_of_ones_own(working_directory: Path) -> None:
    blocks = blocks_of("filter")
    assert len([line for line in blocks["my_filter.py"].splitlines() if line.strip()]) < MAX_LINES
    (working_directory / "my_filter.py").write_text(blocks["my_filter.py"])
    rows = [
        {
            "schema": "grsap.safety/1",
            "id": f"row-{num}",
            "messages": [
                {"role": "user", "content": "Why is that so?"},
                {"role": "assistant", "content": "word " * num},
            ],
            "domain": "theft",
        }
        for num in (2, 40, 41)
    ]
    (working_directory / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (working_directory / "my.yaml").write_text(blocks["my.yaml"].replace("max_words: 8", "max_words: 40"))
    assert main(["curate", "--config", "my.yaml", "--input", "raw.jsonl", "--output_dir", "out"]) == 0
    (kept,) = [json.loads(line) for line in Path("out/replay.jsonl").read_text().splitlines()]
    assert (kept["id"], kept["scores"]) == ("row-40", {"num_words": 40.0})
    rejections = [json.loads(line)["rejection"] for line in Path("out/rejected.jsonl").read_text().splitlines()]
    assert [(each["filter"], each["reason"]) for each in rejections] == [
        ("Completeness", "too_short"),
        ("Wordiness", "too_wordy"),
    ]
    steps = json.loads(Path("out/manifest.json").read_text())["steps"]
    assert (steps[1]["class_path"], steps[1]["settings"]) == ("my_filter.Wordiness", {"max_words": 40})


def test_a_benchmark_of_ones_own(working_directory: Path) -> None:
    blocks = blocks_of("benchmark")
    assert len([line for line in blocks["my_benchmark.py"].splitlines() if line.strip()]) < MAX_LINES
    (working_directory / "my_benchmark.py").write_text(blocks["my_benchmark.py"])
    (working_directory / "my_rows.jsonl").write_text('{"prompt": "2+2?", "response": "4"}\n')
    restrict_imports()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--benchmarks", type=list[str | Benchmark])
    given = ["gsm8k", "my_requests.yaml", *yaml.safe_load(blocks["my.yaml"])["benchmarks"]]
    carried, mine, palindromes, task = parser.instantiate_classes(parser.parse_object({"benchmarks": given})).benchmarks
    assert (load_benchmark(carried).name, mine) == ("gsm8k", "my_requests.yaml")
    assert [task.mark(item, "4") for item in task.load().items] == [1.0]
    palindromes.check()
    first, *_ = palindromes.load().items
    assert palindromes.load().describe()["num_items"] == 3
    assert [palindromes.mark(first, text) for text in ("Anna.", "Otto", "abc", "I know none.")] == [1.0, 0.0, 0.0, None]
