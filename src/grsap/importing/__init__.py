"""Other projects' safety data as replay sets."""

from grsap.importing.importing import Import
from grsap.importing.row_reader import ChosenColumns, RowReader

__all__ = ["ChosenColumns", "Import", "RowReader"]
