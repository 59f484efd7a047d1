"""The output folder of a stage: which verb and settings made it, and whether a call may continue it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import yaml

from grsap.differences import setting_differences
from grsap.errors import RunFolderError, first_line
from grsap.files import user_path, write_atomic
from grsap.yaml_text import load_yaml

CONFIG = "config.yaml"
_HEADING = "# grsap "


class StageFolder:
    """The output folder of a verb. Creating the object does not access the disk.

    Args:
        path: value of `--output_dir`.
        verb: the verb of this call.
    """

    def __init__(self, path: str | Path, verb: str) -> None:
        self.path = user_path(path)
        self.verb = verb
        self.config = self.path / CONFIG

    def check(self, config: str, may_change: Collection[str] = ()) -> bool:
        """Check that a call with this config may use the folder, without writing to it.

        Args:
            config: YAML.
            may_change: keys that may differ from those of earlier calls; see `left_out` of `setting_differences`.

        Returns:
            Whether the folder holds results of an earlier call, which this one continues.

        Raises:
            RunFolderError: it is a file, or holds other files or results of other settings; names the keys that differ.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"output_dir {self.path} is a file", "Choose another with --output_dir")
        entries = self.path.iterdir() if self.path.is_dir() else ()
        if not {entry.name for entry in entries if not entry.name.startswith(".")} - {CONFIG}:
            return False  # the config of an earlier call is ignored if there are no results
        old, owner = self._read()
        if owner != self.verb:
            content = f"results of grsap {owner}" if owner else "other files"
            raise RunFolderError(
                f"output_dir {self.path} holds {content}, not results of grsap {self.verb}",
                "Choose an empty folder with --output_dir",
            )
        differences = setting_differences(old, load_yaml(config), ("config", "output_dir", *may_change))
        if differences:
            more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
            raise RunFolderError(
                f"output_dir {self.path} holds results of other settings: {'; '.join(differences[:5])}{more}",
                "Restore these settings to continue, or choose another folder with --output_dir",
            )
        return True

    def begin(self, config: str) -> None:
        """Write the config; the caller must hold the lock."""
        write_atomic(self.config, f"{_HEADING}{self.verb}\n{config}")

    def take_back(self) -> None:
        """Remove the config if there are no results, so that the next call may have other settings."""
        if {entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")} == {CONFIG}:
            self.config.unlink()

    def _read(self) -> tuple[object, str]:
        """Return the config of an earlier call, and its verb; the verb is empty if grsap did not make the folder."""

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
