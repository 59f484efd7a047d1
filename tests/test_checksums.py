"""JSON that tells whether it is as it was written."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from grsap.checksums import checked_line, parse_checked_line, read_checked_json, write_checked_json
from grsap.errors import DataError

VALUE = {"b": "ä 😀 \udc80", "a": [1, 0.1, None, True, {"x": -0.0}], "1": {"y": ""}}


def test_every_bit_of_a_line_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    value = {"b": "a", "n": 1.5}
    line = checked_line(value)
    assert line == b'{"b": "a", "n": 1.5, "checksum": "96d473e8c887d726"}\n'
    assert parse_checked_line(line, path) == value
    for place in range(len(line) - 1):
        for bit in range(8):
            changed = bytearray(line)
            changed[place] ^= 1 << bit
            with contextlib.suppress(DataError):  # but where a space became another white space
                assert parse_checked_line(bytes(changed), path) == value, changed


def test_a_document(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert read_checked_json(path) is None
    write_checked_json(path, {**VALUE, "b": "ä 😀"})
    assert read_checked_json(path) == {**VALUE, "b": "ä 😀"}
    assert list(json.loads(path.read_text())) == ["b", "a", "1", "checksum"]
    text = path.read_text()
    for broken in ("", text[:-3], text.replace("0.1", "0.2"), text.replace("checksum", "checksun"), "[]", "null"):
        path.write_text(broken)
        with pytest.raises(DataError, match=r"a\.json: is damaged: its checksum does not match"):
            read_checked_json(path)


def test_the_order_of_keys_does_not_count(tmp_path: Path) -> None:
    entry = json.loads(checked_line(VALUE))
    line = json.dumps(dict(reversed(entry.items()))) + "\n"
    assert parse_checked_line(line.encode(), tmp_path / "a.log") == VALUE
