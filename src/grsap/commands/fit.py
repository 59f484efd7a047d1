"""`grsap fit | validate | test | predict`: cheap checks first, then the Trainer.

Heavy imports are inside the functions: a finished run needs none, and log levels must be set before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grsap.commands.finished import changed_inputs, finished_run, is_marked_finished, mark_finished
from grsap.commands.invocation import FLAGS_HELP, USE_FLAGS_HELP, Invocation, read_invocation
from grsap.commands.quiet import quieten
from grsap.console import say
from grsap.errors import RunFolderError
from grsap.runs.folder import RunFolder

if TYPE_CHECKING:
    from grsap.commands.settings import RunSettings


def run(verb: str, args: Sequence[str]) -> int:
    """Run a Trainer verb and return the exit code."""
    invocation = read_invocation(verb, args)
    if verb == "fit" and not invocation.dry_run and (run_dir := finished_run(invocation)):
        check_inputs(run_dir)
        return print_finished(run_dir)
    if not invocation.debug:
        quieten()
    from grsap.commands.settings import RunSettings
    from grsap.commands.trust import restrict_imports

    restrict_imports(invocation.trusted)
    settings = RunSettings(verb, invocation.args, FLAGS_HELP if verb == "fit" else USE_FLAGS_HELP)
    if invocation.dry_run:
        from grsap.commands.dry_run import dry_run

        return dry_run(settings)
    return fit(settings, invocation) if verb == "fit" else evaluate(settings, invocation)


def fit(settings: RunSettings, invocation: Invocation) -> int:
    """Start a run, resume one, or print the summary of a finished one.

    Raises:
        UserError: config, run folder, data or chat template are wrong; raised before weights are loaded. The folder is
            unchanged.
        Interrupted: the process received a signal; a checkpoint is saved.
    """
    from grsap.callbacks import AdapterCheckpoint, Provenance
    from grsap.commands.resuming import resume_point
    from grsap.runs.model_card import has_model_card, write_model_card

    folder = RunFolder(settings.run_dir)
    config = settings.resolved_config()
    status = folder.check(config, resume=invocation.resume)
    if status == "finished":  # on all ranks: a rank that continued would wait for the others
        check_inputs(folder.path)
        if is_first_rank() and not is_marked_finished(folder.path):
            # The call that finished the run was killed before its last writes.
            with folder.lock():
                folder.remove_stale()
                if not has_model_card(folder):
                    write_model_card(folder)
                mark_finished(folder.path, invocation)
        return print_finished(folder.path)
    settings.callback(AdapterCheckpoint).extends = status == "extended"
    if not is_first_rank():  # only rank 0 locks and writes the folder
        return train(settings, folder.newest_checkpoint(lambda _: None) if invocation.resume else None)
    with folder.lock():
        if folder.check(config, resume=invocation.resume) != status:
            raise RunFolderError(f"another call has just written to {folder.path}", "Give the same command again")
        folder.remove_stale()
        provenance = settings.callback(Provenance)
        provenance.opening, provenance.config = prepare(settings), config
        checkpoint = resume_point(folder, config, status, settings, say) if invocation.resume else None
        try:
            train(settings, checkpoint)
        except BaseException:
            if status == "new":
                folder.remove_start()
            raise
        mark_finished(folder.path, invocation)
    return 0


def prepare(settings: RunSettings) -> list[str]:
    """Set up and check the data on rank 0; Lightning sets it up on the other ranks later.

    Returns:
        Notes about the run to print before weights load, such as the setting that ends it.
    """
    from grsap.callbacks.run_end import expected_end
    from grsap.models.planned import check_model
    from grsap.training.settings_checks import check_run

    settings.datamodule.prepare_data()
    settings.datamodule.setup("fit")
    check_run(settings.model, settings.datamodule, settings.trainer)
    end = expected_end(settings.trainer, settings.datamodule.steps_per_epoch)
    return [end, *check_model(settings.model.base, settings.model.lora)]


def train(settings: RunSettings, checkpoint: Path | None) -> int:
    """Run the Trainer, from a checkpoint if one is given."""
    RunFolder(settings.run_dir).check_no_other_checkpoint()
    settings.trainer.fit(
        settings.model,
        datamodule=settings.datamodule,
        ckpt_path=None if checkpoint is None else str(checkpoint / "trainer.ckpt"),
        weights_only=True,
    )
    return 0


def check_inputs(run_dir: Path) -> None:
    """Check that the inputs of a finished run have not changed since.

    Raises:
        RunFolderError: inputs of the run have changed.
    """
    if changed := changed_inputs(run_dir):
        raise RunFolderError(
            f"the run in {run_dir} is finished, and {', '.join(changed)} changed since",
            "Restore what changed, or choose another --run_dir",
        )


def print_finished(run_dir: Path) -> int:
    """Print the summary of a finished run; returns 0."""
    from grsap.runs.summary_table import load_and_print

    say(f"The run in {run_dir} is finished. To repeat it, choose another --run_dir or remove the folder.")
    load_and_print(run_dir)
    return 0


def evaluate(settings: RunSettings, invocation: Invocation) -> int:
    """Validate, test or predict with the weights of the run in `run_dir`, or with the base model (`--base`).

    Raises:
        UserError: a row is wrong, `run_dir` holds no run, or its weights are damaged; raised before weights are loaded.
    """
    from grsap.commands.answers import prepare_prediction, write_answers
    from grsap.commands.run_weights import use_weights

    data, trainer, verb = settings.datamodule, settings.trainer, invocation.verb
    if verb == "predict":
        prepare_prediction(data, trainer.world_size)
    elif is_first_rank():
        data.prepare_data()
        data.setup(verb)
    RunFolder(settings.run_dir).check_no_other_checkpoint()
    settings.model.base.check_weights()
    weights = use_weights(settings, invocation.base, say)
    found = getattr(trainer, verb)(settings.model, datamodule=data, ckpt_path=weights.ckpt_path, weights_only=True)
    if verb == "predict":
        path = settings.run_dir / "predictions.jsonl"
        answers = [{**answer, "weights": weights.name} for batch in found for answer in batch]
        num, kept = write_answers(path, data, answers)
        if kept is not None:
            say(f"The answers of an earlier call are in {kept}.")
        say(f"{num} answers are in {path}.")
    return 0


def is_first_rank() -> bool:
    """Return whether this process is the only one or rank 0."""
    from lightning.pytorch.utilities import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) in (None, 0)
