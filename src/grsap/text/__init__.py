"""Conversion of conversations to tensors: chat template, response mask, encoding, packing, collation."""

from grsap.text.collation import SOURCES, collate_packed, collate_padded
from grsap.text.encoding import EncodedRow, EncodingSettings, encode_rows
from grsap.text.packing import pack, pad_groups
from grsap.text.template import ChatTemplate

__all__ = [
    "SOURCES",
    "ChatTemplate",
    "EncodedRow",
    "EncodingSettings",
    "collate_packed",
    "collate_padded",
    "encode_rows",
    "pack",
    "pad_groups",
]
