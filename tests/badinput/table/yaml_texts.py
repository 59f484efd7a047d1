"""Config files that are no YAML, or hold what settings cannot be."""

from __future__ import annotations

import itertools

from tests.badinput.case import Case, Content
from tests.badinput.worlds import WORLDS

TEXTS: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "my.yaml"),
    "blank": ("\n  \n", "my.yaml"),
    "comment_only": ("# nothing yet\n", "my.yaml"),
    "null": ("null\n", "my.yaml"),
    "words": ("just a text\n", "my.yaml"),
    "list": ("- a\n- b\n", "my.yaml"),
    "number": ("17\n", "my.yaml"),
    "unclosed": ("a: {b: [\n", "my.yaml, line "),
    "tab": ("a:\n\tb: 1\n", "my.yaml, line 2"),
    "two_colons": ("a: b: c\n", "my.yaml, line 1"),
    "bad_indent": ("a: 1\n  b: 2\n", "my.yaml, line 2"),
    "two_documents": ("a: 1\n---\nb: 2\n", "my.yaml"),
    "python_object": ("a: !!python/object/apply:os.system ['true']\n", "my.yaml"),
    "python_name": ("a: !!python/name:os.system\n", "my.yaml"),
    "unknown_tag": ("a: !secret b\n", "my.yaml"),
    "unknown_alias": ("a: *nowhere\n", "my.yaml"),
    "alias_circle": ("a: &a [*a]\n", "my.yaml"),
    "alias_bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)),
        "my.yaml",
    ),
    "deep": ("a: " + "[" * 5_000 + "]" * 5_000, "my.yaml"),
    "deep_mapping": ("{a: " * 3_000 + "1" + "}" * 3_000, "my.yaml"),
    "key_twice": ("output_dir: a\noutput_dir: b\nrun_dir: a\nrun_dir: b\n", "my.yaml"),
    "number_as_key": ("1: a\n", "my.yaml"),
    "null_as_key": ("null: a\n", "my.yaml"),
    "list_as_key": ("? [a, b]\n: c\n", "my.yaml"),
    "mapping_as_key": ("? {a: b}\n: c\n", "my.yaml"),
    "dotted_key": ("modle.base.path: a\n", "my.yaml"),
    "latin1": ("a: caf\u00e9\n".encode("latin-1"), "my.yaml"),
    "utf16": ("a: b\n".encode("utf-16"), "my.yaml"),
    "nul": (b"a: b\x00c\n", "my.yaml"),
    "escape": ("a: \x1b[31mred\n", "my.yaml"),
    "binary": (bytes(range(256)), "my.yaml"),
    "huge_number": ("a: " + "9" * 6_000 + "\n", "my.yaml"),
    "sexagesimal_key": ("1:30: a\n", "my.yaml"),
    "merge_of_text": ("<<: text\n", "my.yaml"),
    "json_cut": ('{"run_dir": "a", "model": {', "my.yaml"),
    "control_key": ('"a\\e[31mb": 1\n', "my.yaml"),
    "surrogate": ('a: "\\ud800"\n', "my.yaml"),
    "ini": ("[model]\npath = a\n", "my.yaml"),
    "toml": ('model.path = "a"\n', "my.yaml"),
    "html": ("<!DOCTYPE html>\n<html></html>\n", "my.yaml"),
}
FILES: dict[str, Content] = {
    "folder": lambda path: path.mkdir(),
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("nowhere.yaml"),
}
VERBS = [verb for verb, world in WORLDS.items() if world.settings]

CASES = [
    Case(f"{verb}-yaml-{name}", verb, (named,), config=text)
    for (name, (text, named)), verb in zip(TEXTS.items(), itertools.cycle(VERBS), strict=False)
]
CASES += [
    Case(f"{verb}-yaml-{name}", verb, (named,), config=text, slow=True)
    for name, (text, named) in TEXTS.items()
    for verb in VERBS
    if f"{verb}-yaml-{name}" not in {case.id for case in CASES}
]
CASES += [
    Case(
        f"{verb}-config_file-{name}",
        verb,
        ("other.yaml",),
        files={"other.yaml": content},
        words=("--config", "other.yaml"),
    )
    for name, content in FILES.items()
    for verb in ("fit", "evaluate", "study")
]
