"""Paths that name nothing readable, in each setting that takes one."""

from __future__ import annotations

from tests.badinput.case import Case, each

PATHS: dict[str, tuple[str, str]] = {
    "fit-task": ("fit", "data.task.init_args.train_path"),
    "fit-replay": ("fit", "data.replay.path"),
    "fit-probes": ("fit", "trainer.callbacks.0.init_args.probes"),
    "validate-task": ("validate", "data.task.init_args.validation_path"),
    "test-task": ("test", "data.task.init_args.test_path"),
    "predict-task": ("predict", "data.task.init_args.test_path"),
    "import-source": ("import", "source.path"),
    "curate-input": ("curate", "input"),
    "similarity-curated": ("similarity", "curated"),
    "similarity-reference": ("similarity", "reference"),
    "evaluate-replay": ("evaluate", "replay"),
    "synthesize-domains": ("synthesize", "domains"),
    "evaluate-benchmark": ("evaluate", "benchmarks.0"),
}
"""Begin of the id -> verb and setting."""

SUFFIX = {"synthesize-domains": ".yaml", "evaluate-benchmark": ".yaml"}

BAD_PATHS = {
    "missing": "no/such{suffix}",
    "folder": "model",
    "below_a_file": "my.yaml/rows{suffix}",
    "empty": "",
    "nul": "a\0b{suffix}",
    "long_name": "x" * 300 + "{suffix}",
    "long_path": "/".join(["xyz"] * 1500) + "{suffix}",
    "no_home": "~no_such_user/rows{suffix}",
    "unknown_suffix": "model/config.rtf",
    "loop": "loop{suffix}",
}


def _loop(path):
    path.symlink_to(path.name)


def _case(name: str, bad: str) -> Case:
    verb, key = PATHS[name]
    suffix = SUFFIX.get(name, ".jsonl")
    value = BAD_PATHS[bad].format(suffix=suffix)
    files = {value: _loop} if bad == "loop" else {}
    shown = "NUL" if bad == "nul" else value[:20] or ("no benchmark ''" if key == "benchmarks.0" else "a path is empty")
    return Case(f"{name}-{bad}", verb, (shown,), {key: [value] if key == "replay" else value}, files)


CASES = each(2, [_case(name, bad) for name in PATHS for bad in BAD_PATHS])
