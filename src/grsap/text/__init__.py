"""Conversion of conversations to tensors: chat template, response mask, encoding, packing, collation."""

from grsap.text.collation import SOURCES, MicroBatch, RowSpan, collate_packed, collate_padded
from grsap.text.encoding import EncodedRow, EncodedRows, EncodingReport, EncodingSettings, encode_rows
from grsap.text.packing import pack, pad_groups
from grsap.text.template import ChatTemplate, LossOn, TokenizedConversation

__all__ = [
    "SOURCES",
    "ChatTemplate",
    "EncodedRow",
    "EncodedRows",
    "EncodingReport",
    "EncodingSettings",
    "LossOn",
    "MicroBatch",
    "RowSpan",
    "TokenizedConversation",
    "collate_packed",
    "collate_padded",
    "encode_rows",
    "pack",
    "pad_groups",
]
