"""`grsap fit --dry-run`: counts worked out from the rows, the first step's mask, and no weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.commands.conftest import NUM_REPLAY, NUM_TASK, Run, conversation, write_rows
from tests.commands.test_masked_text import ROWS
from tests.conftest import build_tiny_tokenizer

from grsap.commands import dry_run
from grsap.commands.dry_run import measure_packing
from grsap.data import StepBatch
from grsap.text.collation import MicroBatch


@pytest.fixture
def out(run: Run, no_weights: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def dry_run(*words: str) -> str:
        code = run.fit("--dry-run", *words)
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out

    return dry_run


def test_rows_and_supervised_tokens(out: Callable[..., str]) -> None:
    table = {line.split()[0]: line.split()[1:] for line in out().splitlines() if line.startswith(("task ", "replay "))}
    tokenizer = build_tiny_tokenizer()
    # The answer and the turn-end token are supervised; the line break that the template writes after it is not.
    supervised = sum(len(tokenizer.encode(f"answer {n}", add_special_tokens=False)) + 1 for n in range(NUM_TASK))
    refusal = len(tokenizer.encode("I am sorry, I cannot help with that.", add_special_tokens=False)) + 1
    assert table["task"][:4] == [str(NUM_TASK), "0", "0", str(NUM_TASK)]
    assert table["task"][5] == str(supervised)
    assert table["replay"][:4] == [str(NUM_REPLAY), "0", "0", str(NUM_REPLAY)]
    assert table["replay"][5] == str(NUM_REPLAY * refusal)


def test_steps(out: Callable[..., str]) -> None:
    text = out("--trainer.max_epochs=3")
    assert "6 optimizer steps; 2 per epoch of 12 rows, 8 rows per step" in text
    assert "replay: 3 rows per epoch, 25.0% of all rows" in text


def test_rows_that_the_run_does_not_see(out: Callable[..., str], run: Run) -> None:
    text = out()
    # 12 rows an epoch, 3 of them replay.
    assert "3 of 12 task rows are not seen in this run (sampler.control is total: replay rows take their place)" in text
    assert "3 of 6 replay rows are not seen in this run\n" in text
    assert "not seen" not in out("--trainer.max_epochs=2")
    told = out("--data.sampler.init_args.control=downstream")
    assert "task rows are not seen" not in told
    assert "3 of 6 replay rows are not seen in this run\n" in told


def test_replay_rows_that_are_left_out(out: Callable[..., str], run: Run) -> None:
    rows = [{"messages": conversation("a", "b"), "is_safe": label} for label in ("true", "false", False, "", True)]
    write_rows(Path(run.config["data"]["replay"]["path"]), rows)
    assert "Replay rows excluded before encoding: 2 unsafe, 1 unlabelled." in out()


def test_replay_that_no_objective_reads(run: Run, no_weights: None, error_of: Callable[[], str]) -> None:
    run.config["model"]["objectives"] = [{"class_path": "CrossEntropy", "init_args": {"source": "task"}}]
    for words in (["--dry-run"], []):
        assert run.fit(*words) == 2
        assert (
            "an epoch has 3 replay rows, but no objective learns from them; model.objectives: task_cross_entropy "
            "(source task). Add an objective with the source replay, or set data.replay to null and replay_ratio to 0"
        ) in error_of()
    assert run.fit("--dry-run", "--data.sampler.init_args.replay_ratio=0") == 0


def test_text_that_spells_a_special_token_is_told_from_one(out: Callable[..., str], run: Run) -> None:
    rows = [{"messages": conversation("two <|im_end|>", "four <|im_end|>")}]
    write_rows(Path(run.config["data"]["task"]["init_args"]["train_path"]), rows)
    text = out("--data.sampler.init_args.replay_ratio=0")
    assert "user\ntwo ‹<|im_end|>›<|im_end|>\n" in text
    assert "⟦four ‹<|im_end|>›<|im_end|>⟧" in text
    assert "Plain text that spells a special token is between ‹ and ›." in text


def test_the_first_step_is_shown_with_its_mask(out: Callable[..., str]) -> None:
    text = out()
    assert "First step: 8 rows; supervised tokens are between ⟦ and ⟧" in text
    shown = re.findall(
        r"\[task\] t(\d+): \d+ tokens, \d+ supervised\n<\|im_start\|>user\ntwo and (\d+)<\|im_end\|>\n"
        r"<\|im_start\|>assistant\n⟦answer (\d+)<\|im_end\|>⟧\n",
        text,
    )
    assert len(shown) == 4
    assert all(len(set(numbers)) == 1 for numbers in shown)
    assert "... and 2 more task rows" in text
    assert text.count("⟦I am sorry, I cannot help with that.<|im_end|>⟧") == 2


def test_the_mask_is_in_colour_where_the_terminal_has_it(
    out: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = out()
    green = re.findall(r"\x1b\[32m(.*?)\x1b\[0m", text)
    assert len([piece for piece in green if re.fullmatch(r"answer \d+<\|im_end\|>", piece)]) == 4
    assert green.count("I am sorry, I cannot help with that.<|im_end|>") == 2
    assert "supervised tokens are green" in text
    assert "⟦" not in text


def test_memory_parts(out: Callable[..., str], run: Run) -> None:
    text = out()
    # r = 2 on q (32 -> 32) and v (32 -> 16) of two layers.
    assert f"{2 * 2 * ((32 + 32) + (32 + 16))} trainable parameters" in text
    assert "base weights, quantization none" in text
    assert "no weights were loaded and nothing was written" in text


def test_memory_is_estimated_with_the_chunk_size_of_the_step(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    chunks = []
    estimate = dry_run.estimate_memory
    monkeypatch.setattr(
        dry_run, "estimate_memory", lambda *args: (chunks.append(args[2].chunk_size), estimate(*args))[1]
    )
    assert run.fit("--dry-run") == 0
    assert run.fit("--dry-run", "--model.step.chunk_size", "7") == 0
    assert chunks == [1024 if torch.cuda.is_available() else 256, 7]


def test_nothing_is_written(out: Callable[..., str], run: Run) -> None:
    before = sorted(run.folder.iterdir())
    run.write()
    out()
    assert sorted(run.folder.iterdir()) == sorted({*before, run.path})
    assert not run.run_dir.exists()


def test_a_finished_run_can_be_tried_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.fit() == 0
    capsys.readouterr()
    assert run.fit("--dry-run") == 0
    assert "Dry run:" in capsys.readouterr().out


def test_wrong_data_is_told_here_too(run: Run, no_weights: None, error_of: Callable[[], str]) -> None:
    Path(run.config["data"]["replay"]["path"]).write_text("")
    assert run.fit("--dry-run") == 2
    assert "replay.jsonl" in error_of()


def micro_batch(packed: bool) -> MicroBatch:
    from grsap.text.collation import collate_packed, collate_padded

    return collate_packed(ROWS) if packed else collate_padded(ROWS, 0)


@pytest.mark.parametrize(("packed", "positions"), [(True, 7), (False, 8)])
def test_packing_is_measured(packed: bool, positions: int) -> None:
    batch = StepBatch(0, (micro_batch(packed),), {"task": 2, "replay": 1}, 7, (), ("a", "b"))
    packing = measure_packing([batch, batch], capacity=10)
    assert (packing.num_steps, packing.num_micro_batches, packing.num_tokens) == (1, 2, 14)
    assert (packing.num_positions, packing.max_positions, packing.max_targets) == (2 * positions, positions, 3)
    assert packing.efficiency == 7 / positions
    assert packing.fill == 0.7
