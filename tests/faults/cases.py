"""What the harness runs: small work for each verb, with the files that must come out the same."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from grsap.evaluation.verdicts import NUM_AT_ONCE
from grsap.response_logprobs import LogprobReader

PARTS = Path(__file__).with_name("parts.py")
OUT = "out"

View = Callable[[Path], Any]
"""What of a file must be the same."""


@dataclass(frozen=True)
class Case:
    """A verb with its inputs.

    Attributes:
        verb: of grsap.
        prepare: writes inputs and `run.yaml` into a working directory, given the tiny base's folder.
        views: pattern of a file's path below the output -> what of it must be the same, or None if nothing must. Other
            files must be the same to the byte.
        again: words that a call on unfinished work has in addition.
        unread: patterns of files that a call does not read when the work is finished.
        mended: from a result after damage, what must be the same; by default all.
        num_in_the_air: things that a kill may find unwritten, so that they are asked for again.
        killed_codes: how a call ends in which a process was killed.
    """

    verb: str
    prepare: Callable[[Path, Path], None]
    views: Mapping[str, View | None] = field(default_factory=dict)
    output: str = "--output_dir"
    again: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    mended: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    num_in_the_air: int = 0
    killed_codes: tuple[int, ...] = (-signal.SIGKILL,)

    def words(self, *, again: bool = False) -> list[str]:
        """Of the command."""
        more = self.again if again else ()
        return [self.verb, "--config", "run.yaml", self.output, OUT, *more]

    def asked(self, folder: Path) -> list[str]:
        """What models, judges and embedders were asked, in order."""
        path = folder / "asked.txt"
        return path.read_text().splitlines() if path.exists() else []

    def result(self, folder: Path) -> dict[str, Any]:
        """By file, what must be the same; a file that should not be there is in it, too."""
        found: dict[str, Any] = {}
        for path in sorted((folder / OUT).rglob("*")):
            name = path.relative_to(folder / OUT).as_posix()
            if path.is_dir() or path.name == ".lock":
                continue
            view: View | None = Path.read_bytes
            for pattern, each in self.views.items():
                if fnmatchcase(name, pattern):
                    view = each
            if view is not None:
                found[name] = view(path)
        return found

    def check_same(self, folder: Path, whole: Path, *, is_mended: bool = False) -> None:
        """Raise AssertionError if two results differ; says where.

        Args:
            folder: the working directory of one.
            whole: that of the other.
            is_mended: rows of a damaged file may have been made again in another file.
        """
        found, expected = self.result(folder), self.result(whole)
        if is_mended and self.mended is not None:
            found, expected = self.mended(found), self.mended(expected)
        assert not found.keys() ^ expected.keys(), found.keys() ^ expected.keys()
        for name, value in expected.items():
            assert found[name] == value, f"{name}: {difference(found[name], value)}"


def difference(found: Any, expected: Any) -> str:
    """The lines in which two results differ, or how both begin."""
    if isinstance(found, list) and isinstance(expected, list):
        return str([pair for pair in zip_longest(found, expected) if pair[0] != pair[1]])[:4000]
    return f"{str(found)[:2000]}\nand not {str(expected)[:2000]}"


def json_without(*keys: str) -> View:
    """All of a JSON file but some keys, at whatever depth."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(child) for key, child in value.items() if key not in keys}
        return [strip(child) for child in value] if isinstance(value, list) else value

    return lambda path: strip(json.loads(path.read_text()))


def without_durations(path: Path) -> str:
    """A page without the cells that say how long something took."""
    return re.sub(r'<td class="number">[\d a-z]* s</td>', "", path.read_text())


def distinct_lines(path: Path) -> set[str]:
    """Lines in whatever order; what was begun again may stand twice."""
    return set(path.read_text().splitlines())


def logprobs(path: Path) -> dict[str, tuple[Any, ...]]:
    """Of each response; the block of one that was begun again may stand twice."""
    reader = LogprobReader(path.parent)
    rows = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    found = {}
    for row in rows:
        (key,) = [key for key in reader.stored_keys() if key[0] == row["id"]]
        entry = reader.read(row["id"], row["messages"][-1]["content"], key[2])
        assert entry is not None
        found[row["id"]] = (entry.token_ids.tolist(), entry.logprobs.tolist(), entry.top_ids.tolist())
    return found


def by_row(result: dict[str, Any]) -> dict[str, Any]:
    """A synthesis by rows instead of shards."""
    shards = [value.splitlines() for name, value in result.items() if name.endswith(".jsonl")]
    scores = [value for name, value in result.items() if name.endswith(".logprobs")]
    rest = {name: value for name, value in result.items() if not name.startswith("shard-")}
    merged = {row: score for each in scores for row, score in each.items()}
    return {**rest, "rows": sorted(line for lines in shards for line in lines), "logprobs": merged}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_config(folder: Path, config: dict[str, Any]) -> None:
    shutil.copy(PARTS, folder / "fault_parts.py")
    (folder / "run.yaml").write_text(yaml.safe_dump(config))


def turns(request: str, response: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": request}, {"role": "assistant", "content": response}]


def safety_row(number: int, name: str = "r") -> dict[str, Any]:
    """Each fifth answer is called harmful, each second query is the same as the one before to the embedder."""
    answer = "You zorble it at once." if number % 5 == 0 else "I cannot help with that."
    return {
        "schema": "grsap.safety/1",
        "id": f"{name}{number:03}",
        "messages": turns(f"How do I steal number {number}", answer),
        "domain": ("theft", "weapons", "violence")[number % 3],
        "finish_reason": "stop",
    }


def prepare_synthesize(folder: Path, base: Path) -> None:
    write_config(
        folder,
        {
            "generator": {"class_path": "fault_parts.Rules", "init_args": {"path": str(base)}},
            "domain_names": ["theft", "weapons"],
            "quota": {"num_per_domain": 8, "benign_share": 0.25},
            "response_sampling": {"max_new_tokens": 20, "temperature": 0.8, "top_logprobs": 2},
            "rows_per_shard": 7,
        },
    )


def prepare_curate(folder: Path, base: Path) -> None:
    rows = [safety_row(number) for number in range(24)]
    random.Random(0).shuffle(rows)
    write_rows(folder / "raw" / "shard-00000.jsonl", rows[:12])
    write_rows(folder / "raw" / "shard-00001.jsonl", rows[12:])
    filters = ("Completeness", "SemanticDeduplication", "Harmlessness", "Behaviour")
    write_config(
        folder,
        {
            "input": "raw",
            "embedder": "fault_parts.Numbers",
            "judge": "fault_parts.WordJudge",
            "judge_batch_size": 2,
            "filters": [{"class_path": name} for name in filters],
        },
    )


def prepare_evaluate(folder: Path, base: Path) -> None:
    rows = [
        {"id": f"p{n}", "messages": turns(f"Question {n}?", "")[:1], "subset": ("harmful", "ordinary")[n % 2]}
        for n in range(16)
    ]
    write_rows(folder / "probes.jsonl", rows)
    spec = {
        "name": "mine",
        "kind": "safety",
        "source": {"path": "probes.jsonl"},
        "columns": {"id": "id", "messages": "messages"},
        "prompt_harmful": True,
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(spec))
    write_rows(folder / "choices.jsonl", [{"q": f"Is {n} even?", "answer": "no" if n % 2 else "yes"} for n in range(4)])
    spec = {
        "name": "chosen",
        "kind": "multiple_choice",
        "source": {"path": "choices.jsonl"},
        "columns": {"reference": "answer"},
        "prompt_template": "{q}",
        "choices": ["yes", "no"],
        "labels": ["yes", "no"],
    }
    (folder / "chosen.yaml").write_text(yaml.safe_dump(spec))
    model = {"class_path": "TransformersGenerator", "init_args": {"base": {"path": str(base), "quantization": "none"}}}
    rules = {"class_path": "fault_parts.Rules", "init_args": {"path": str(base)}}
    subjects = [
        {"class_path": "GeneratorSubject", "init_args": {"generator": rules, "name": "rules"}},
        {"class_path": "ModelSubject", "init_args": {"base": model["init_args"]["base"], "name": "tiny"}},
    ]
    write_config(
        folder,
        {
            "subjects": subjects,
            "benchmarks": ["mine.yaml", "chosen.yaml"],
            "judges": [{"class_path": "fault_parts.WordJudge"}, {"class_path": "RefusalMatcher"}],
            "sampling": {"max_new_tokens": 4},
            "surprise": {"model": model},
            "device": "cpu",
        },
    )


def prepare_similarity(folder: Path, base: Path) -> None:
    write_rows(folder / "curated.jsonl", [safety_row(number, "c") for number in range(20)])
    write_rows(folder / "reference.jsonl", [safety_row(3 * number, "o") for number in range(40)])
    model = {"base": {"path": str(base), "quantization": "none"}, "device": "cpu"}
    write_config(
        folder,
        {
            "curated": "curated.jsonl",
            "reference": "reference.jsonl",
            "num_seeds": 1,
            "embedder": "fault_parts.Numbers",
            "model": {"class_path": "TransformersGenerator", "init_args": model},
        },
    )


def prepare_import(folder: Path, base: Path) -> None:
    rows = [{"prompt": f"How do I steal {n}?", "response": f"I cannot, {n}.", "kind": n % 3} for n in range(200)]
    write_rows(folder / "rows.jsonl", rows)
    write_config(
        folder,
        {
            "source": {"path": "rows.jsonl"},
            "columns": {"prompt": "prompt", "response": "response"},
            "without": {"kind": [0]},
            "limit": 50,
        },
    )


STUDY = {
    "axes": {"draw": ["20", "30"]},
    "stages": [
        {
            "name": "import/{draw}",
            "verb": "import",
            "settings": {
                "source": {"path": "rows.jsonl"},
                "columns": {"prompt": "prompt", "response": "response"},
                "limit": "{draw}",
            },
        },
        {
            "name": "curate/{draw}",
            "verb": "curate",
            "configs": ["curate.yaml"],
            "settings": {"input": "{folder}/import/{draw}/replay.jsonl"},
            "needs": ["import/{draw}"],
        },
    ],
    "figures": [
        {
            "name": "harmful answers",
            "stages": "curate/*",
            "where": {"step": "Harmlessness", "reason": "harmful_response"},
            "published": 0.2,
            "source": "nowhere",
        }
    ],
    "report": ["curate/*"],
}


def prepare_study(folder: Path, base: Path) -> None:
    rows = [safety_row(n)["messages"] for n in range(60)]
    write_rows(folder / "rows.jsonl", [{"prompt": row[0]["content"], "response": row[1]["content"]} for row in rows])
    settings = {
        "embedder": "fault_parts.Numbers",
        "judge": "fault_parts.WordJudge",
        "judge_batch_size": 4,
        "filters": [{"class_path": "SemanticDeduplication"}, {"class_path": "Harmlessness"}],
    }
    (folder / "curate.yaml").write_text(yaml.safe_dump(settings))
    write_config(folder, STUDY)


TIMES = ("seconds", "tokens_per_second", "checksum")

SYNTHESIZE = Case(
    "synthesize",
    prepare_synthesize,
    {"manifest.json": json_without(*TIMES, "files"), "attempts.log": distinct_lines, "*.logprobs": logprobs},
    mended=by_row,
    num_in_the_air=1,
)
CURATE = Case("curate", prepare_curate, {"timings.json": None}, unread=("results/*",), num_in_the_air=24)
EVALUATE = Case("evaluate", prepare_evaluate, {"manifest.json": json_without("cost")}, num_in_the_air=NUM_AT_ONCE)
SIMILARITY = Case(
    "similarity",
    prepare_similarity,
    {"similarity.json": json_without("seconds", "checksum"), "*.log": distinct_lines},
    unread=("*.log",),
    num_in_the_air=40,
)
IMPORT = Case("import", prepare_import)
STUDY_OF_STAGES = Case(
    "study",
    prepare_study,
    {
        "*/timings.json": None,
        "study.json": json_without("told", "seconds"),
        "*/.study.json": json_without("seconds", "checksum"),
        "report.html": without_durations,
    },
    unread=("import/*/[cr]*", "curate/*/[cirt]*", "curate/*/results/*"),  # it looks at the stages' summaries
    num_in_the_air=30,
    killed_codes=(-signal.SIGKILL, 1),  # the study, or a stage of it
)
CASES = (SYNTHESIZE, CURATE, EVALUATE, SIMILARITY, IMPORT, STUDY_OF_STAGES)
