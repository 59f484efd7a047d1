"""`grsap fit | validate | test | predict`: what is cheap to check first, then the Trainer.

At the top of this file nothing heavy is imported: a finished run is answered, and libraries are quietened, before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from grsap.commands.finished import finished_run, mark_finished
from grsap.commands.invocation import FLAGS_HELP, Invocation, read_invocation
from grsap.commands.quiet import quieten
from grsap.files import write_atomic

if TYPE_CHECKING:
    from grsap.commands.settings import RunSettings
    from grsap.training.run_folder import RunFolder


def run(verb: str, args: Sequence[str]) -> int:
    """Run a Trainer verb and return the exit code."""
    invocation = read_invocation(verb, args)
    if verb == "fit" and not invocation.dry_run and (run_dir := finished_run(invocation)):
        return tell_finished(run_dir)
    if not invocation.debug:
        quieten()
    from grsap.commands.settings import RunSettings
    from grsap.commands.trust import restrict_imports

    restrict_imports(invocation.trusted)
    settings = RunSettings(verb, invocation.args, FLAGS_HELP if verb == "fit" else "")
    if invocation.dry_run:
        from grsap.commands.dry_run import dry_run

        return dry_run(settings)
    return fit(settings, invocation) if verb == "fit" else evaluate(settings, verb)


def fit(settings: RunSettings, invocation: Invocation) -> int:
    """Start a run, go on with one, or print the summary of a finished one.

    Raises:
        UserError: config, run folder, data or chat template are wrong; told before weights are loaded.
        Interrupted: SIGTERM came; a checkpoint is saved.
    """
    from lightning.pytorch.utilities import rank_zero_only

    from grsap.models.planned import check_model
    from grsap.training.refusals import check_trainer
    from grsap.training.run_folder import RunFolder

    folder = RunFolder(settings.run_dir)
    config = settings.resolved_config()
    owner = getattr(rank_zero_only, "rank", 0) in (None, 0)  # of several ranks the first owns the folder
    if owner and folder.check(config, resume=invocation.resume) == "finished":
        return tell_finished(folder.path)
    with folder.lock() if owner else nullcontext():
        if owner:
            status = folder.check(config, resume=invocation.resume)  # again: another run may just have ended
            folder.remove_stale()
            settings.datamodule.prepare_data()
            settings.datamodule.setup("fit")  # on other ranks Lightning does it, when what is prepared is there
            check_trainer(settings.trainer, settings.datamodule.steps_per_epoch)
            for note in check_model(settings.model.base, settings.model.lora):
                say(note)
        checkpoint = None
        if invocation.resume:
            checkpoint = resume_point(folder, config if owner else None)
        if owner:
            write_atomic(folder.config, config)
        try:
            settings.trainer.fit(
                settings.model,
                datamodule=settings.datamodule,
                ckpt_path=None if checkpoint is None else str(checkpoint / "trainer.ckpt"),
                weights_only=True,
            )
        except BaseException:
            if owner and status == "new":
                folder.remove_start()
            raise
        if owner:
            mark_finished(folder.path, invocation)
    return 0


def resume_point(folder: RunFolder, config: str | None) -> Path | None:
    """The checkpoint to go on from; says which, and which settings changed. The present settings hold, not the old.

    Args:
        folder: of the run.
        config: the present one; None to say nothing.
    """
    checkpoint = folder.newest_checkpoint(say if config is not None else lambda _: None)
    if config is not None:
        for difference in folder.differences(config):
            say(f"Changed since the run began, and used from now on: {difference}")
        say("No checkpoint yet: starting from step 0." if checkpoint is None else f"Going on from {checkpoint}.")
    return checkpoint


def tell_finished(run_dir: Path) -> int:
    """Print the summary of a run that is already done."""
    from grsap.callbacks import load_and_print

    say(f"The run in {run_dir} is finished. To do it again, choose another --run_dir or remove the folder.")
    load_and_print(run_dir)
    return 0


def evaluate(settings: RunSettings, verb: str) -> int:
    """Validate, test or predict with the newest checkpoint of the run folder, or with the base if it holds none."""
    from grsap.commands.answers import prepare_prediction, write_answers
    from grsap.training.run_folder import RunFolder

    data, trainer = settings.datamodule, settings.trainer
    if verb == "predict":
        prepare_prediction(data, trainer.world_size)
    folder = RunFolder(settings.run_dir)
    checkpoint = folder.newest_checkpoint(say)
    say("No checkpoint in run_dir: the base model is used." if checkpoint is None else f"Using {checkpoint}.")
    ckpt_path = None if checkpoint is None else str(checkpoint / "trainer.ckpt")
    found = getattr(trainer, verb)(settings.model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    if verb == "predict":
        path = folder.path / "predictions.jsonl"
        num = write_answers(path, data, [answer for batch in found for answer in batch])
        say(f"{num} answers are in {path}.")
    return 0


def say(message: str) -> None:
    """Tell the user something, on stderr."""
    print(message, file=sys.stderr)
