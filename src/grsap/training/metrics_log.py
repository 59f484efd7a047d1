"""Log the metrics of a run to one CSV file."""

from __future__ import annotations

import csv
import io
import os
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from grsap.disk import reading, writing
from grsap.files import set_aside, write_atomic
from grsap.secure_open import open_appending
from grsap.streams import spreadsheet_text

COLUMNS = ("step", "key", "value")
_STEP = re.compile(r"[0-9]{1,12}")


class MetricsLog(Logger):
    """Writes `metrics.csv`, one number per line: `step,key,value`, with keys `stage/metric/subset`.

    The format is long because checks log at other steps than the loss, new keys need no new column, and lines never
    change once written. `pd.read_csv(path).pivot_table(index="step", columns="key", values="value")` is the wide form.
    `step` is the number of optimizer steps done.

    A resumed run appends to the file, after removing the lines of steps that are repeated.

    Args:
        run_dir: the run folder; the file is `metrics.csv` in it.
    """

    def __init__(self, run_dir: str | Path) -> None:
        super().__init__()
        self.path = Path(run_dir).expanduser() / "metrics.csv"
        self._resumed_step: int | None = None

    @property
    def name(self) -> str:
        """Always `metrics`."""
        return "metrics"

    @property
    def version(self) -> str:
        """Empty: a run folder holds one run."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: settings are in `config.yaml` and `manifest.json`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append one line per number.

        Args:
            metrics: numbers or short texts, by key.
            step: optimizer steps done. Lightning's own calls, recognised by the key `epoch`, pass the index of the
                current step instead: 1 is added, and `epoch` is not written.
        """
        values = dict(metrics)
        by_lightning = values.pop("epoch", None) is not None
        done = (0 if step is None else int(step)) + by_lightning
        self._append([(str(done), spreadsheet_text(key), _cell(value)) for key, value in values.items()])

    @rank_zero_only
    def resume_after(self, step: int) -> None:
        """Remove the lines of later steps before the next line is written; until then the resume may be rejected.

        Args:
            step: step that the run resumes from; 0 for a new run, which keeps no line.
        """
        self._resumed_step = step or -1

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Remove the lines of later steps if no line has been written since."""
        if status == "success":
            self._append([])

    @rank_zero_only
    def truncate_after(self, step: int) -> None:
        """Remove the lines of later steps, and an incomplete last line of a killed process; 0 keeps step 0.

        A file that is not a log of metrics is set aside.
        """
        if not self.path.is_file():
            return
        with reading(self.path):
            text = self.path.read_bytes().decode(encoding="utf-8", errors="replace")
        if text and not text.startswith(_lines([COLUMNS])):
            set_aside([self.path])
            return
        whole = text[: text.rfind("\n") + 1]
        try:
            rows = [
                row for row in csv.reader(io.StringIO(whole)) if len(row) == len(COLUMNS) and _STEP.fullmatch(row[0])
            ]
        except csv.Error:  # a cell exceeds the reader's limit
            set_aside([self.path])
            return
        kept = [row for row in rows if int(row[0]) <= step]
        write_atomic(self.path, _lines([COLUMNS, *kept]))

    def _append(self, rows: list[tuple[str, str, str]]) -> None:
        if self._resumed_step is not None:
            self.truncate_after(self._resumed_step)
            self._resumed_step = None
        if not rows:
            return
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(open_appending(self.path, 0o644), "a", encoding="utf-8", newline="") as file:
                file.write(_lines([COLUMNS, *rows] if file.tell() == 0 else rows))


def _lines(rows: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    try:
        return repr(float(value))
    except (TypeError, ValueError):
        return spreadsheet_text(str(value))
