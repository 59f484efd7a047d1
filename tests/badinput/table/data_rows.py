"""Rows of JSONL, CSV and Parquet files that are broken, and files that are none: of tasks, replay sets and probes."""

from __future__ import annotations

import json
from typing import Any

from tests.badinput.case import Case, Content, each
from tests.badinput.worlds import SAFETY_ROWS
from tests.commands.conftest import conversation, probe_rows, replay_rows, task_rows

GOOD: dict[str, tuple[str, str, str, list[dict[str, Any]]]] = {
    "fit-task": ("fit", "task.jsonl", "data.task.init_args.train_path", task_rows()),
    "fit-replay": ("fit", "replay.jsonl", "data.replay.path", replay_rows()),
    "fit-probes": ("fit", "probes.jsonl", "trainer.callbacks.0.init_args.probes", probe_rows()),
    "validate-task": ("validate", "task.jsonl", "data.task.init_args.validation_path", task_rows()),
    "test-task": ("test", "task.jsonl", "data.task.init_args.test_path", task_rows()),
    "predict-task": ("predict", "task.jsonl", "data.task.init_args.test_path", task_rows()),
    "import-rows": (
        "import",
        "rows.jsonl",
        "source.path",
        [{"prompt": f"Say {n}.", "response": "Yes."} for n in range(4)],
    ),
    "curate-raw": ("curate", "raw.jsonl", "input", SAFETY_ROWS[:8]),
    "similarity-curated": ("similarity", "curated.jsonl", "curated", SAFETY_ROWS[:20]),
    "similarity-reference": ("similarity", "reference.jsonl", "reference", SAFETY_ROWS[:40]),
}
"""Begin of the id -> verb, file, the setting that names it, and good rows."""

LINE = 3
"""Of the broken row."""

BROKEN_LINES: dict[str, bytes] = {
    "cut": b'{"messages": [',
    "words": b"a line of words",
    "number": b"17",
    "null": b"null",
    "list": b'["user", "assistant"]',
    "string": b'"words"',
    "latin1": '{"messages": "caf\u00e9"}'.encode("latin-1"),
    "utf16": '{"messages": 1}'.encode("utf-16"),
    "two_objects": b'{"id": "a"} {"id": "b"}',
    "single_quotes": b"{'messages': 1}",
    "trailing_comma": b'{"messages": 1,}',
    "comment": b'{"messages": 1} // the first',
    "nan": b'{"messages": NaN}',
    "nul": b'{"id": "a\x00b"}',
    "deep": b"[" * 100_000,
    "deep_object": b'{"messages":' * 50_000,
    "control": b'{"id": "a\tb\x1b[31m"}',
    "empty_object": b"{}",
    "huge_number": b'{"id": ' + b"9" * 5_000 + b"}",
    "twice": b'{"messages": 1, "messages": 2}',
}

BAD_MESSAGES: dict[str, Any] = {
    "null": None,
    "text": "user: hello",
    "empty": [],
    "number": 5,
    "mapping": {"role": "user", "content": "a"},
    "of_texts": ["hello", "hi"],
    "of_nulls": [None, None],
    "of_lists": [["user", "hello"], ["assistant", "hi"]],
    "no_role": [{"content": "a"}, {"role": "assistant", "content": "b"}],
    "no_content": [{"role": "user"}, {"role": "assistant", "content": "b"}],
    "null_content": [{"role": "user", "content": None}, {"role": "assistant", "content": "b"}],
    "null_role": [{"role": None, "content": "a"}, {"role": "assistant", "content": "b"}],
    "empty_content": conversation("", "b"),
    "blank_content": conversation(" \n\t", "b"),
    "number_content": [{"role": "user", "content": 5}, {"role": "assistant", "content": "b"}],
    "image": [
        {"role": "user", "content": [{"type": "image", "url": "a.png"}]},
        {"role": "assistant", "content": "b"},
    ],
    "list_role": [{"role": ["user"], "content": "a"}, {"role": "assistant", "content": "b"}],
    "unknown_role": [{"role": "human", "content": "a"}, {"role": "gpt", "content": "b"}],
    "capital_role": [{"role": "User", "content": "a"}, {"role": "Assistant", "content": "b"}],
    "tool_role": [*conversation("a", "b"), {"role": "tool", "content": "c"}],
    "two_users": [*conversation("a", "b")[:1], *conversation("a", "b")],
    "assistant_first": conversation("a", "b")[::-1],
    "system_late": [*conversation("a", "b"), {"role": "system", "content": "c"}],
    "two_systems": [{"role": "system", "content": "c"}] * 2 + conversation("a", "b"),
    "system_only": [{"role": "system", "content": "c"}],
    "further_key": [{"role": "user", "content": "a", "weight": 0}, {"role": "assistant", "content": "b"}],
    "sharegpt": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
    "surrogate": conversation("a\ud800", "b"),
}

WITH_MESSAGES = [
    name
    for name, (_, _, _, rows) in GOOD.items()
    if "messages" in rows[0] and not name.startswith(("validate", "test"))
]
TEXT_MAY_BE_NULL = {
    "curate-raw": ("null_content", "empty_content", "blank_content", "surrogate"),
    "similarity-curated": ("surrogate",),
    "similarity-reference": ("surrogate",),
}
"""What is read on purpose: curation rejects such rows by name, and an embedder takes a mark for half a character."""
WHOLE: dict[str, Content] = {
    "empty": b"",
    "blank": b"\n\n \n",
    "binary": bytes(range(256)) * 4,
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"\x00" * 40,
    "lfs_pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n",
    "json_array": json.dumps([{"messages": conversation("a", "b")}], indent=1),
    "html": "<!DOCTYPE html>\n<html><body>404</body></html>\n",
}


def _lines(rows: list[dict[str, Any]], broken: bytes) -> bytes:
    lines = [json.dumps(row).encode() for row in rows]
    lines[LINE - 1] = broken
    return b"\n".join(lines) + b"\n"


def _broken_line(name: str, kind: str) -> Case:
    verb, file, _, rows = GOOD[name]
    rows = rows * 2 if len(rows) < LINE else rows
    return Case(
        f"{name}-line-{kind}", verb, (f"{file}, line {LINE}: ",), files={file: _lines(rows, BROKEN_LINES[kind])}
    )


def _bad_messages(name: str, kind: str) -> Case:
    verb, file, _, rows = GOOD[name]
    broken = [*rows[:1], {**rows[1], "messages": BAD_MESSAGES[kind]}, *rows[2:]]
    return Case(f"{name}-messages-{kind}", verb, (f"{file}, line 2: ",), files={file: broken})


def _whole(name: str, kind: str) -> Case:
    verb, file, _, _ = GOOD[name]
    return Case(f"{name}-file-{kind}", verb, (file,), files={file: WHOLE[kind]})


CASES = each(
    3,
    [
        *(_broken_line(name, kind) for name in GOOD for kind in BROKEN_LINES),
        *(
            _bad_messages(name, kind)
            for name in WITH_MESSAGES
            for kind in BAD_MESSAGES
            if kind not in TEXT_MAY_BE_NULL.get(name, ())
        ),
        *(_whole(name, kind) for name in GOOD for kind in WHOLE),
    ],
)
