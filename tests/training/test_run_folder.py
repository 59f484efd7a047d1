from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grsap.errors import RunFolderError
from grsap.files import write_json
from grsap.training.run_folder import RunFolder, checkpoint_damage, checkpoint_name, checkpoint_step, seal_checkpoint

ROOT = Path(__file__).parents[2]
CONFIG = """\
seed_everything: 0
run_dir: runs/a
model:
  lr: 1e-05
trainer:
  callbacks:
  - class_path: A
  devices: 1
"""


def make_run(path: Path, status: str | None, config: str = CONFIG) -> RunFolder:
    folder = RunFolder(path)
    path.mkdir(parents=True)
    folder.config.write_text(config)
    if status is not None:
        write_json(folder.summary, {"status": status})
    return folder


def make_checkpoint(folder: RunFolder, step: int) -> Path:
    path = folder.checkpoint_path(step)
    path.mkdir(parents=True)
    (path / "trainer.ckpt").write_bytes(bytes(range(200)) + bytes([step]))
    (path / "adapter_model.safetensors").write_bytes(b"weights")
    seal_checkpoint(path, step)
    return path


def test_names_of_checkpoints() -> None:
    assert checkpoint_name(40) == "step=000040"
    assert checkpoint_step(Path("a/step=000040")) == 40
    assert checkpoint_step(Path("a/step=1234567")) == 1234567
    assert [checkpoint_step(Path(name)) for name in (".step=000040.0.tmp", "step=40x", "last")] == [None, None, None]


@pytest.mark.parametrize("hidden", [None, ".lock", ".config.yaml.12.tmp"])
@pytest.mark.parametrize("resume", [False, True])
def test_missing_and_empty_folders_are_new(tmp_path: Path, hidden: str | None, resume: bool) -> None:
    folder = RunFolder(tmp_path / "run")
    assert folder.check(CONFIG, resume=resume) == "new"
    assert not folder.path.exists()
    folder.path.mkdir()
    if hidden is not None:
        (folder.path / hidden).write_text("")
    assert folder.check(CONFIG, resume=resume) == "new"


@pytest.mark.parametrize("resume", [False, True])
def test_a_finished_run_with_the_same_settings(tmp_path: Path, resume: bool) -> None:
    folder = make_run(tmp_path / "run", "finished")
    other = CONFIG.replace("runs/a", "somewhere/else").replace("seed_everything: 0\n", "") + "seed_everything: 0\n"
    assert folder.is_finished
    assert folder.check(other, resume=resume) == "finished"


def test_a_finished_run_with_other_settings(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "finished")
    other = CONFIG.replace("1e-05", "1e-04").replace("class_path: A", "class_path: B\n  - class_path: C") + "new: 1\n"
    assert folder.differences(other) == [
        "model.lr: 1e-05 -> 0.0001",
        'trainer.callbacks[0].class_path: "A" -> "B"',
        'trainer.callbacks[1].class_path: absent -> "C"',
        "new: absent -> 1",
    ]
    with pytest.raises(RunFolderError) as error:
        folder.check(other, resume=True)
    assert str(error.value) == (
        f"run_dir {folder.path} holds a finished run with other settings: model.lr: 1e-05 -> 0.0001; "
        'trainer.callbacks[0].class_path: "A" -> "B"; trainer.callbacks[1].class_path: absent -> "C" and 1 more. '
        "Choose another folder with --run_dir, or remove this one."
    )


@pytest.mark.parametrize("status", [None, "interrupted"])
def test_an_unfinished_run_needs_resume(tmp_path: Path, status: str | None) -> None:
    folder = make_run(tmp_path / "run", status)
    with pytest.raises(RunFolderError, match=r"holds an unfinished run\. Add --resume to go on with it"):
        folder.check(CONFIG, resume=False)
    assert folder.check(CONFIG, resume=True) == "unfinished"
    assert folder.newest_checkpoint() is None


def test_a_torn_summary_is_unfinished(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", None)
    folder.summary.write_text('{"status": "finis')
    assert folder.check(CONFIG, resume=True) == "unfinished"


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunFolderError, match=r"is not empty and holds no run of grsap"):
        RunFolder(tmp_path).check(CONFIG, resume=resume)


def test_newest_valid_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    paths = {step: make_checkpoint(folder, step) for step in (40, 5, 100)}
    (folder.checkpoints_dir / ".step=000120.0.tmp").mkdir()
    assert folder.checkpoints() == [paths[5], paths[40], paths[100]]
    said: list[str] = []
    assert folder.newest_checkpoint(said.append) == paths[100]
    assert said == []
    content = bytearray((paths[100] / "trainer.ckpt").read_bytes())
    content[77] ^= 0b100
    (paths[100] / "trainer.ckpt").write_bytes(content)
    assert folder.newest_checkpoint(said.append) == paths[40]
    (paths[40] / "adapter_model.safetensors").unlink()
    assert folder.newest_checkpoint(said.append) == paths[5]
    assert said == [
        "Checkpoint step=000100 is damaged (trainer.ckpt is truncated or changed): going back to the one before.",
        "Checkpoint step=000100 is damaged (trainer.ckpt is truncated or changed): going back to the one before.",
        "Checkpoint step=000040 is damaged (adapter_model.safetensors is missing): going back to the one before.",
    ]


@pytest.mark.parametrize(
    "state",
    ["", "{", "[]", '{"step": 40}', '{"step": 41, "files": {"trainer.ckpt": "x"}}', '{"step": 40, "files": {}}'],
)
def test_a_checkpoint_whose_state_says_nothing_is_damaged(tmp_path: Path, state: str) -> None:
    path = make_checkpoint(RunFolder(tmp_path), 40)
    assert checkpoint_damage(path) is None
    (path / "state.json").write_text(state)
    assert str(checkpoint_damage(path)).startswith("state.json ")


def test_truncated_checkpoint(tmp_path: Path) -> None:
    path = make_checkpoint(RunFolder(tmp_path), 40)
    content = (path / "trainer.ckpt").read_bytes()
    (path / "trainer.ckpt").write_bytes(content[:-1])
    assert checkpoint_damage(path) == "trainer.ckpt is truncated or changed"


def test_stale_files_are_removed(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", None)
    kept = make_checkpoint(folder, 40)
    folder.transcripts.mkdir()
    for stale in (folder.path / ".adapter.12.tmp", folder.checkpoints_dir / ".step=000060.0.tmp"):
        stale.mkdir()
        (stale / "half").write_text("")
    (folder.path / ".adapter.12.old").mkdir()
    (folder.transcripts / ".step=000000.jsonl.77.tmp").write_text("")
    (folder.path / ".lock").write_text("1")
    folder.remove_stale()
    assert sorted(path.name for path in folder.path.iterdir()) == [".lock", "checkpoints", "config.yaml", "transcripts"]
    assert list(folder.checkpoints_dir.iterdir()) == [kept]
    assert list(folder.transcripts.iterdir()) == []


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    # By its file: the package imports torch, which takes long on a busy machine.
    code = (
        "import sys; from grsap.files import folder_lock\n"
        "with folder_lock(sys.argv[1]):\n    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match=f"is in use by process {holder.pid}"), RunFolder(tmp_path).lock():
            pass
    finally:
        holder.kill()
        holder.communicate()
    with RunFolder(tmp_path).lock():
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_read_summary(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_summary() is None
    folder.summary.write_text(json.dumps({"status": "finished", "num_steps": 3}))
    assert folder.read_summary() == {"status": "finished", "num_steps": 3}
    folder.summary.write_text("[1]")
    assert folder.read_summary() is None
