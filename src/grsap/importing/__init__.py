"""Import of other projects' safety data as replay sets."""

from grsap.importing.importing import ChosenColumns, Import
from grsap.importing.row_reader import RowReader

__all__ = ["ChosenColumns", "Import", "RowReader"]
