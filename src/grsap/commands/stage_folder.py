"""The output folder of a stage: its owner, and whether a call may continue its work."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path

import yaml

from grsap.differences import setting_differences
from grsap.errors import RunFolderError, first_line
from grsap.files import folder_lock, user_path, write_atomic
from grsap.yaml_text import load_yaml

CONFIG = "config.yaml"
_HEADING = "# grsap "


class StageFolder:
    """The output folder of a verb. Making the object touches nothing.

    Args:
        path: `--output_dir`.
        verb: whose folder it is.
    """

    def __init__(self, path: str | Path, verb: str) -> None:
        self.path = user_path(path)
        self.verb = verb
        self.config = self.path / CONFIG

    def lock(self) -> AbstractContextManager[None]:
        """Hold the folder for this process, as `grsap.files.folder_lock` does."""
        return folder_lock(self.path, "output_dir")

    def check(self, config: str, may_change: Collection[str] = ()) -> bool:
        """Whether a call with this config may use the folder. Nothing is written.

        Args:
            config: YAML.
            may_change: keys that may differ from the call that began the folder, as `setting_differences` has them.

        Returns:
            Whether it holds work of an earlier call, which this one continues.

        Raises:
            RunFolderError: it is a file, holds something else, or work of other settings; names the keys that differ.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"output_dir {self.path} is a file", "Choose another with --output_dir")
        entries = self.path.iterdir() if self.path.is_dir() else ()
        if not {entry.name for entry in entries if not entry.name.startswith(".")} - {CONFIG}:
            return False  # what an earlier call said does not bind if it left no work
        old, owner = self._read()
        if owner != self.verb:
            whose = f"the work of grsap {owner}, not" if owner else "no work"
            raise RunFolderError(
                f"output_dir {self.path} is not empty and holds {whose} of grsap {self.verb}",
                "Choose an empty folder with --output_dir",
            )
        differences = setting_differences(old, load_yaml(config), ("config", "output_dir", *may_change))
        if differences:
            more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
            raise RunFolderError(
                f"output_dir {self.path} holds work with other settings: {'; '.join(differences[:5])}{more}",
                "Set them back to continue it, or choose another folder with --output_dir",
            )
        return True

    def begin(self, config: str) -> None:
        """Write the config down. Call it with the lock held."""
        write_atomic(self.config, f"{_HEADING}{self.verb}\n{config}")

    def take_back(self) -> None:
        """Remove the config of a call that left no work: it does not bind the next one."""
        if {entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")} == {CONFIG}:
            self.config.unlink()

    def _read(self) -> tuple[object, str]:
        """The config of the call that began the folder, and its verb, empty if there is none."""
        try:
            text = self.config.read_text(encoding="utf-8")
            heading = text.partition("\n")[0]
            return load_yaml(text), heading.removeprefix(_HEADING) if heading.startswith(_HEADING) else ""
        except FileNotFoundError:
            return {}, ""
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RunFolderError(
                f"{self.config} cannot be read: {first_line(error)}",
                "Correct it, or choose another folder with --output_dir",
            ) from error
