"""docs/tutorial.md, run as it stands in an empty folder: vLLM in the environment of these tests, grsap in its own."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from tests.page_blocks import BLOCK, ROOT, run_block
from tests.servers.process import ServerProcess, free_port

pytestmark = pytest.mark.vllm

ON_A_PROCESSOR = ["--dtype", "float32", "--enforce-eager", "--max-num-seqs", "32"]


def test_the_page_runs(folder: Path, tmp_path: Path) -> None:
    port = free_port()
    page = (ROOT / "docs" / "tutorial.md").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    shutil.copytree(folder, tmp_path / "my-model")
    server: ServerProcess | None = None
    printed = []
    try:
        for language, name, text in BLOCK.findall(page):
            if name == "server":
                if server is not None:
                    server.kill()
                server = _serve(text.replace("--port 8000", f"--port {port}"), port, tmp_path)
            elif name:
                (tmp_path / name).write_text(text)
            else:
                assert language == "bash"
                printed.append(run_block(text, tmp_path, ROOT / ".venv" / "bin" / "python"))
    finally:
        if server is not None:
            server.kill()
    _check(tmp_path / "runs", json.loads(printed[-1]))


def _check(runs: Path, served: dict) -> None:
    """What the page says came out."""
    replay = [json.loads(line) for line in (runs / "curate" / "replay.jsonl").read_text().splitlines()]
    assert {row["domain"] for row in replay} <= {"theft", "cybercrime"}
    summary = json.loads((runs / "mine" / "summary.json").read_text())
    assert (summary["num_steps"], summary["replay_ratio_seen"]) == (8 * (6 + 2) // 4, 0.25)
    # The adapter that training wrote is what the server answers with.
    assert served["choices"][0]["message"]["content"].strip().startswith("Look in the desk")
    evaluation = json.loads((runs / "evaluate" / "evaluation.json").read_text())
    assert [subject["name"] for subject in evaluation["subjects"]] == ["start", "mine"]
    assert [benchmark["num_items"] for benchmark in evaluation["benchmarks"]] == [60]
    assert {each["num_pairs"] for each in evaluation["comparisons"] if each["subset"] == "all"} == {60}


def _serve(text: str, port: int, folder: Path) -> ServerProcess:
    program, verb, model, *words = shlex.split(text)
    assert (program, verb) == ("vllm", "serve")
    # What `vllm serve` starts; the command itself does not find its version in the package for processors.
    words = ["-m", "vllm.entrypoints.openai.api_server", "--model", model, *words, *ON_A_PROCESSOR]
    server = ServerProcess(words, port, folder / "server.log", {"VLLM_CPU_KVCACHE_SPACE": "1"}, 400, cwd=folder)
    server.start()
    return server
