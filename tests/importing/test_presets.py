"""Each preset on a generated file with the columns of its data set: it applies the paper's rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from grsap.cli import main

PRESETS = Path(__file__).parents[2] / "configs" / "import"


def chat(prompt: str, response: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


def pair(prompt: str, safer: int, is_safe: tuple[bool, bool], source: str = "Alpaca") -> dict[str, Any]:
    return {
        "prompt": prompt,
        "response_0": f"{prompt} 0",
        "response_1": f"{prompt} 1",
        "prompt_source": source,
        "is_response_0_safe": is_safe[0],
        "is_response_1_safe": is_safe[1],
        "better_response_id": 0,
        "safer_response_id": safer,
    }


def aegis(number: int, response: str | None, label: str | None, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"id{number}",
        "reconstruction_id_if_redacted": None,
        "prompt": f"p{number}",
        "response": response,
        "prompt_label": "unsafe",
        "response_label": label,
        "violated_categories": "Violence",
        **changes,
    }


TULU = "ai2-adapt-dev/"
ROWS: dict[str, list[dict[str, Any]]] = {
    "beavertails": [
        {"prompt": "a", "response": "no", "category": {"theft": False}, "is_safe": True},
        {"prompt": "a", "response": "yes", "category": {"theft": True}, "is_safe": False},
        {"prompt": "a", "response": "never", "category": {"theft": False}, "is_safe": True},
        {"prompt": "a", "response": "no", "category": {"theft": False}, "is_safe": True},
    ],
    "pku_saferlhf": [
        pair("a", 0, (True, False)),
        pair("b", 1, (True, True)),
        pair("c", 1, (False, False)),
        pair("d", 0, (True, True), "BeaverTails"),
    ],
    "aegis2": [
        aegis(1, "no", "safe"),
        aegis(2, "yes", "unsafe"),
        aegis(3, None, None),
        aegis(4, "no", "safe", prompt="REDACTED", reconstruction_id_if_redacted=7),
        aegis(5, "fine", "safe", prompt_label="safe", violated_categories=""),
    ],
    "tulu_safety": [
        {"id": "1", "messages": chat("a", "no"), "source": TULU + "coconot_converted"},
        {"id": "2", "messages": chat("b", "2"), "source": TULU + "flan_v2_converted"},
        {"id": "3", "messages": chat("c", "no"), "source": TULU + "tulu_v3.9_wildjailbreak_decontaminated_50k"},
        {
            "id": "4",
            "messages": chat("d", "no"),
            "source": TULU + "tulu_v3.9_synthetic_finalresp_wildguardmixtrain_decontaminated_50k",
        },
    ],
    "reference_csv": [
        {"query": "a", "response": "no", "domain": "theft", "difficulty": "Easy", "is_safe": "True"},
        {"query": "b", "response": "yes", "domain": "theft", "difficulty": "hard", "is_safe": "False"},
        {"query": "c", "response": "None", "domain": "theft", "difficulty": "hard", "is_safe": "True"},
        {"query": "d", "response": "no", "domain": "fraud", "difficulty": "hard", "is_safe": "True"},
        {"query": "e", "response": "no", "domain": "fraud", "difficulty": "hard", "is_safe": ""},
    ],
}
TAKEN = {
    "beavertails": [("a", "no"), ("a", "never")],
    "pku_saferlhf": [("a", "a 0"), ("b", "b 1")],
    "aegis2": [("p1", "no"), ("p5", "fine")],
    "tulu_safety": [("a", "no"), ("c", "no"), ("d", "no")],
    "reference_csv": [("a", "no"), ("d", "no")],
}
EXCLUDED = {
    "beavertails": {"repeated": 1, "unsafe": 1},
    "pku_saferlhf": {"not_selected": 1, "unsafe": 1},
    "aegis2": {"empty_text": 1, "not_selected": 1, "unsafe": 1},
    "tulu_safety": {"not_selected": 1},
    "reference_csv": {"empty_text": 1, "unlabelled": 1, "unsafe": 1},
}


def test_each_preset_is_tested_here() -> None:
    assert {path.stem for path in PRESETS.glob("*.yaml")} == set(ROWS) == set(TAKEN) == set(EXCLUDED)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_preset(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[name]))
    config = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    assert name == "reference_csv" or config["source"]["revision"] == "main"
    config["source"] = {"path": "rows.jsonl"}
    Path("import.yaml").write_text(yaml.safe_dump(config))
    assert main(["import", "--config", "import.yaml", "--output_dir", "out"]) == 0
    rows = [json.loads(line) for line in Path("out/replay.jsonl").read_text().splitlines()]
    assert [(row["messages"][0]["content"], row["messages"][1]["content"]) for row in rows] == TAKEN[name]
    assert json.loads(Path("out/manifest.json").read_text())["num_excluded"] == EXCLUDED[name]
    if name == "aegis2":
        assert [(row["id"], row["prompt_harmful"], row["domain"]) for row in rows] == [
            ("id1", True, "Violence"),
            ("id5", False, ""),
        ]
    if name == "reference_csv":
        assert [(row["domain"], row["difficulty"]) for row in rows] == [("theft", "easy"), ("fraud", "hard")]
