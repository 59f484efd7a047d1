from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from grsap.errors import RunFolderError
from grsap.files import set_aside, write_json
from grsap.runs.folder import RunFolder, checkpoint_damage, checkpoint_name, checkpoint_step, seal_checkpoint

ROOT = Path(__file__).parents[2]
CONFIG = """\
# grsap fit
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
    with pytest.raises(RunFolderError, match=r"holds an unfinished run\. Add --resume to continue it"):
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


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["config.yaml", "manifest.json", "summary.json", "checkpoints"])
def test_a_folder_that_only_has_the_names_of_a_run_is_refused(tmp_path: Path, name: str, resume: bool) -> None:
    if name == "checkpoints":
        (tmp_path / name / "step=000500").mkdir(parents=True)
    else:
        (tmp_path / name).write_text('{"status": "finished"}')
    linked = tmp_path.with_name(f"{tmp_path.name}-link")
    linked.symlink_to(tmp_path)
    for path in (tmp_path, linked):
        with pytest.raises(RunFolderError, match=r"is not empty and holds no run of grsap"):
            RunFolder(path).check(CONFIG, resume=resume)


def test_a_run_from_before_configs_had_a_heading_is_known_by_its_manifest(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", None, CONFIG.partition("\n")[2])
    assert not folder.holds_run
    write_json(folder.manifest, {"schema": "grsap.manifest/1"})
    assert folder.check(CONFIG, resume=True) == "unfinished"


def test_a_finished_run_can_be_extended_by_its_length_alone(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "finished")
    longer = CONFIG.replace("devices: 1", "devices: 1\n  max_epochs: 3\n  max_steps: 9")
    assert folder.check(longer, resume=True) == "extended"
    with pytest.raises(RunFolderError, match=r"max_epochs: absent -> 3; .*Add --resume to extend the run"):
        folder.check(longer, resume=False)
    with pytest.raises(RunFolderError, match=r"Choose another folder with --run_dir, or remove this one"):
        folder.check(longer.replace("1e-05", "1e-04"), resume=True)


@pytest.mark.parametrize("config", [None, "{", "\xff"])
def test_a_finished_run_whose_config_is_lost_is_not_taken_for_this_one(tmp_path: Path, config: str | None) -> None:
    folder = make_run(tmp_path / "run", "finished")
    write_json(folder.manifest, {"schema": "grsap.manifest/1"})
    folder.config.unlink()
    if config is not None:
        folder.config.write_bytes(config.encode("latin-1"))
    with pytest.raises(RunFolderError, match=r"config\.yaml is missing or not YAML"):
        folder.check(CONFIG, resume=True)


def test_begin_writes_the_config_and_sets_the_end_aside_that_is_gone_beyond(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", None)
    write_json(folder.summary, {"schema": "grsap.summary/1", "status": "finished"})
    write_json(folder.manifest, {"schema": "grsap.manifest/1"})
    folder.adapter.mkdir()
    (folder.adapter / "mine.txt").write_text("added by hand")
    (folder.path / ".invocation").write_text("hash")
    place = folder.begin("a: 1\n")
    assert place == folder.path / "set_aside" / "1"
    assert sorted(path.name for path in place.iterdir()) == [".invocation", "adapter", "summary.json"]
    assert (place / "adapter" / "mine.txt").read_text() == "added by hand"
    assert folder.config.read_text() == "# grsap fit\na: 1\n"
    assert (folder.holds_run, folder.is_finished, folder.manifest.is_file()) == (True, False, True)
    assert folder.begin("a: 2\n") is None


def test_begin_overwrites_nothing_that_no_run_wrote(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", None)
    folder.manifest.write_text('{"name": "my web page"}')
    folder.summary.write_text("no JSON at all")
    place = folder.begin("a: 1\n")
    assert place is not None
    assert {path.name: path.read_text() for path in place.iterdir()} == {
        "manifest.json": '{"name": "my web page"}',
        "summary.json": "no JSON at all",
    }


def test_begin_replaces_the_summary_of_an_interruption(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", None)
    write_json(folder.summary, {"schema": "grsap.summary/1", "status": "interrupted"})
    assert folder.begin("a: 1\n") is None
    assert not folder.summary.exists()


def test_things_set_aside_overwrite_nothing(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "a.txt").write_text(str(number))
        assert set_aside([tmp_path / "a.txt"]) == tmp_path / "set_aside" / str(number)
    assert [(tmp_path / "set_aside" / str(n) / "a.txt").read_text() for n in (1, 2)] == ["1", "2"]


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("name", ["state.json", "trainer.ckpt"])
def test_an_error_of_reading_is_not_taken_for_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    folder = RunFolder(tmp_path)
    for step in (5, 40):
        make_checkpoint(folder, step)
    opened = Path.open

    def fail(self: Path, *words: Any, **settings: Any) -> Any:
        if self == folder.checkpoint_path(40) / name:
            raise OSError(number, os.strerror(number))
        return opened(self, *words, **settings)

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(RunFolderError, match=f"step=000040/{name} cannot be read: {os.strerror(number)}"):
        folder.newest_checkpoint()


def test_a_summary_that_cannot_be_read_now_is_not_taken_for_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path / "run", "finished")

    whole = Path.open

    def fail(self: Path, *words: Any, **settings: Any) -> Any:
        if self.name == "summary.json":
            raise OSError(errno.EIO, "Input/output error")
        return whole(self, *words, **settings)

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(RunFolderError, match=r"summary\.json cannot be read: Input/output error"):
        folder.check(CONFIG, resume=True)


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
        "Checkpoint step=000100 is damaged (trainer.ckpt is truncated or changed): trying the previous one.",
        "Checkpoint step=000100 is damaged (trainer.ckpt is truncated or changed): trying the previous one.",
        "Checkpoint step=000040 is damaged (adapter_model.safetensors is missing): trying the previous one.",
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
    (folder.path / ".notes.2024.old").write_text("of the user's")
    (folder.path / ".adapter.13.old").symlink_to(tmp_path)
    folder.remove_stale()
    names = [".lock", ".notes.2024.old", "checkpoints", "config.yaml", "transcripts"]
    assert sorted(path.name for path in folder.path.iterdir()) == names
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
