"""Output folders, run folders and pages that cannot be used, or belong to something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from tests.badinput.case import Case, Content, each
from tests.badinput.worlds import WORLDS
from tests.reporting.folders import curation_folder, similarity_folder, synthesis_folder

STAGES = ("synthesize", "import", "curate", "evaluate", "similarity", "study")
PLACES: dict[str, tuple[str, dict[str, Content], str]] = {
    "file": ("place", {"place": "a file"}, "place"),
    "below_a_file": ("place/out", {"place": "a file"}, "place/out"),
    "other_content": ("place", {"place/thesis.tex": "words"}, "place"),
    "nul": ("a\0b", {}, "NUL"),
    "long_name": ("x" * 300, {}, "xxxx"),
    "long_path": ("/".join(["xyz"] * 1500), {}, "xyz/xyz"),
    "empty": ("", {}, "empty"),
    "no_home": ("~no_such_user/out", {}, "~no_such_user"),
    "loop": ("loop", {"loop": lambda path: path.symlink_to("loop")}, "loop"),
    "dangling": ("link/out", {"link": lambda path: path.symlink_to("no_such_folder")}, "link"),
    "broken_config": ("place", {"place/config.yaml": "a: [", "place/manifest.json": "{}"}, "place"),
    "other_verb": ("place", {"place/config.yaml": "# grsap bake\na: 1\n", "place/work.jsonl": ""}, "place"),
    "proc": ("/proc/no_such", {}, "/proc/no_such"),
}
KEYS = {"fit": "run_dir", **dict.fromkeys(STAGES, "output_dir")}

CASES = each(
    3,
    [
        Case(f"{verb}-{key}-{name}", verb, (named,), {key: value}, files)
        for verb, key in KEYS.items()
        for name, (value, files, named) in PLACES.items()
        if not (verb == "fit" and name in ("other_verb", "broken_config", "dangling"))
    ],
)

RUNS: dict[str, dict[str, Content]] = {
    "missing": {},
    "file": {"other": "a file"},
    "empty": {"other/.keep": ""},
    "of_something_else": {"other/thesis.tex": "words"},
    "config_only": {"other/config.yaml": "run_dir: other\n"},
    "broken_config": {"other/config.yaml": "a: [", "other/checkpoints/step=000001/state.json": "{}"},
    "broken_state": {"other/config.yaml": "run_dir: other\n", "other/checkpoints/step=000001/state.json": "{"},
    "config_of_a_list": {"other/config.yaml": "- a\n", "other/checkpoints/step=000001/state.json": "{}"},
}
CASES += [
    Case(f"{verb}-run_dir-{name}", verb, ("other",), {"run_dir": "other"}, files, plain=True)
    for verb in ("validate", "test", "predict")
    for name, files in RUNS.items()
]
CASES += [
    Case(
        f"evaluate-run_subjects-{name}",
        "evaluate",
        ("other",),
        {"subjects": [{"class_path": "RunSubjects", "init_args": {"run_dir": "other"}}]},
        files,
    )
    for name, files in RUNS.items()
]
CASES += [
    Case(f"fit-resume-{name}", "fit", ("other",), {"run_dir": "other"}, files, words=("--resume",))
    for name, files in RUNS.items()
    if name in ("file", "of_something_else", "config_of_a_list", "broken_config")
]


def _folder(make: Callable[..., Path], *rest: Any) -> Content:
    def write(path: Path) -> None:
        make(path, *rest)

    return write


FOLDERS = {
    "curation": (_folder(curation_folder, ["q", "r"]), "manifest.json"),
    "synthesis": (_folder(synthesis_folder), "manifest.json"),
    "similarity": (_folder(similarity_folder), "similarity.json"),
}
REPORT_FILES: dict[str, Content] = {
    "empty": "",
    "cut": '{"schema": "grsap.',
    "list": "[]",
    "no_schema": "{}",
    "schema_number": '{"schema": 5}',
    "other_version": '{"schema": "grsap.curation/99"}',
    "nothing_else": None,
    "binary": bytes(range(256)),
    "deep": "[" * 100_000,
}


def _emptied(schema_of: str) -> Content:
    """Only the schema is left."""

    def write(path: Path) -> None:
        path.write_text(json.dumps({"schema": json.loads(path.read_text())["schema"]}))

    return write


CASES += [
    Case(
        f"report-{kind}-{name}",
        "report",
        ("place",),
        files={"place": folder, f"place/{file}": content},
        argv=("place",),
    )
    for kind, (folder, file) in FOLDERS.items()
    for name, content in {**REPORT_FILES, "schema_only": _emptied(kind)}.items()
]
GOOD = FOLDERS["curation"][0]
OUTPUTS: dict[str, tuple[str, dict[str, Content]]] = {
    "folder": ("model", {}),
    "other_file": ("notes.html", {"notes.html": "mine"}),
    "below_a_file": ("notes.html/page.html", {"notes.html": "mine"}),
    "nul": ("a\0b.html", {}),
    "long_name": ("x" * 300 + ".html", {}),
    "empty": ("", {}),
    "no_home": ("~no_such_user/a.html", {}),
    "loop": ("loop.html", {"loop.html": lambda path: path.symlink_to("loop.html")}),
}
CASES += [
    Case(
        f"report-output-{name}",
        "report",
        ({"nul": "NUL", "empty": "empty"}.get(name, value[:20]),),
        files={"place": GOOD, **files},
        argv=("place", "--output", value),
    )
    for name, (value, files) in OUTPUTS.items()
]
ASKED = {
    "nul": ("a\0b", "NUL"),
    "long": ("x" * 300, "xxxx"),
    "empty": ("", "empty"),
    "no_home": ("~no_such_user/x", "~no_such_user"),
}
CASES += [Case(f"report-folder-{name}", "report", (named,), argv=(value,)) for name, (value, named) in ASKED.items()]
OTHER_SETTINGS = {
    "synthesize": ("seed", 5),
    "curate": ("seed", 5),
    "import": ("seed", 5),
    "similarity": ("seed", 5),
}
CASES += [
    Case(
        f"{verb}-output_dir-other_settings",
        verb,
        (key, "0 -> 5"),
        {key: value},
        {
            "out/config.yaml": f"# grsap {verb}\n" + yaml.safe_dump({**WORLDS[verb].settings, "seed": 0}),
            "out/work.jsonl": "",
        },
    )
    for verb, (key, value) in OTHER_SETTINGS.items()
]
