"""Each spec that the package carries, on a made file with the columns of its data set. No network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grsap.data.row_source import RowSource
from grsap.errors import ConfigError
from grsap.evaluation import carried_benchmarks, load_benchmark
from grsap.measurement.outcomes import pairs_of

ROWS: dict[str, list[dict[str, Any]]] = {
    "wildguardtest": [
        {"prompt": "one", "adversarial": True, "prompt_harm_label": "harmful", "subcategory": "fraud", "response": "r"},
        {"prompt": "two", "adversarial": False, "prompt_harm_label": "unharmful", "subcategory": "benign"},
        {"prompt": "three", "adversarial": False, "prompt_harm_label": None, "subcategory": "benign"},
    ],
    "wildjailbreak": [
        {"adversarial": "one", "label": 1, "data_type": "adversarial_harmful"},
        {"adversarial": "two", "label": "0", "data_type": "adversarial_benign"},
    ],
    "beavertails": [
        {"prompt": "one", "response": "a", "category": {"animal_abuse": False}, "is_safe": True},
        {"prompt": "one", "response": "b", "category": {"animal_abuse": True}, "is_safe": False},
    ],
    "pku_saferlhf": [{"prompt": "one", "response_0": "a", "response_1": "b", "prompt_source": "x"}],
    "harmbench": [{"prompt": "one", "category": "chemical_biological"}],
    "strongreject": [{"prompt": "one", "category": "Violence", "source": "custom"}],
    "jailbreakbench": [
        {"Index": 0, "Goal": "one", "Target": "t", "Behavior": "b", "Category": "Privacy", "split": "harmful"},
        {"Index": 0, "Goal": "two", "Target": "t", "Behavior": "b", "Category": "Privacy", "split": "benign"},
    ],
    "advbench": [{"prompt": "one", "target": "t"}],
    "sorry_bench": [
        {"question_id": 1, "category": "1", "turns": ["one"], "prompt_style": "base"},
        {"question_id": 1, "category": "1", "turns": ["uno"], "prompt_style": "slang"},
    ],
    "hex_phi": [{"prompt": "one", "split": "Category_7_Fraud_Deception"}],
    "xstest": [
        {"prompt": "one", "type": "contrast_homonyms", "label": "unsafe", "focus": "f", "note": ""},
        {"prompt": "two", "type": "homonyms", "label": "safe", "focus": "f", "note": ""},
    ],
    "or_bench": [
        {"prompt": "one", "category": "deception", "config": "or-bench-toxic"},
        {"prompt": "two", "category": "deception", "config": "or-bench-hard-1k"},
    ],
    "oktest": [{"prompt": "one\n"}],
    "gsm8k": [{"question": "6 x 7?", "answer": "6 x 7 = 42\n#### 42"}],
    "math": [
        {
            "problem": "x?",
            "level": "Level 1",
            "type": "Algebra",
            "solution": r"\boxed{\frac{1}{2}}",
            "config": "algebra",
        }
    ],
    "hellaswag": [
        {
            "ctx": "He",
            "endings": ["a", "b", "c", "d"],
            "label": "2",
            "activity_label": "Cooking",
            "ind": 1,
            "split": "val",
        }
    ],
    "winogrande": [{"sentence": "The _ fell.", "option1": "cup", "option2": "cat", "answer": "1"}],
    "medqa": [
        {
            "question": "What?",
            "answer": "rest",
            "options": {"A": "ice", "B": "rest", "C": "heat", "D": "air"},
            "meta_info": "step1",
            "answer_idx": "B",
            "metamap_phrases": [],
        }
    ],
    "sst2": [{"idx": 0, "sentence": "fine ", "label": 1}],
}
HARMFUL = {
    "beavertails": [True],
    "pku_saferlhf": [True],
    "harmbench": [True],
    "strongreject": [True],
    "advbench": [True],
    "sorry_bench": [True],
    "hex_phi": [True],
    "oktest": [False],
    **{name: [True, False] for name in ("wildguardtest", "wildjailbreak", "jailbreakbench", "xstest", "or_bench")},
}
RIGHT = {
    "gsm8k": ("#### 42", "#### 41"),
    "math": (r"So \boxed{0.5}.", r"\boxed{2}"),
    "hellaswag": ("C", "A"),
    "winogrande": ("Answer: A", "B"),
    "medqa": ("(B)", "rest or ice: A"),
    "sst2": ("Positive.", "not positive, negative"),
}
PINNED = {
    "gsm8k": "cc7b047b6e5bb11b4f1af84efc572db110a51b3c",
    "hellaswag": "218ec52e09a7e7462a5400043bb9a69a41d06b76",
    "winogrande": "01e74176c63542e6b0bcb004dcdea22d94fb67b5",
}
OWN = {"do_not_answer", "quickstart_families", "quickstart_probes", "quickstart_sealed", "quickstart_sealed_2"}


def loaded(name: str, folder: Path) -> tuple[Any, Any]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS[name]))
    spec = load_benchmark(name)
    assert spec.source.splits
    assert spec.source.revision in ("main", PINNED.get(name)) or "data_files" in (spec.source.options or {})
    spec = replace(spec, source=RowSource(str(path)))
    spec.check()
    return spec, spec.load()


def test_each_spec_is_tested_here() -> None:
    assert set(ROWS) | OWN == set(carried_benchmarks())
    assert set(HARMFUL) | set(RIGHT) == set(ROWS)


@pytest.mark.parametrize("name", sorted(HARMFUL))
def test_safety(name: str, tmp_path: Path) -> None:
    spec, found = loaded(name, tmp_path)
    assert spec.kind == "safety"
    assert [item.prompt_harmful for item in found.items] == HARMFUL[name]
    texts = [item.messages[-1]["content"] for item in found.items]
    assert texts == ["one", "two"][: len(texts)]
    assert all(len(item.messages) == 1 and item.messages[0]["role"] == "user" for item in found.items)


def test_subsets_domains_and_pairs(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    _, found = loaded("jailbreakbench", tmp_path / "a")
    assert [(item.subset, item.domain, item.pair_id) for item in found.items] == [
        ("harmful", "Privacy", "0"),
        ("benign", "Privacy", "0"),
    ]
    _, found = loaded("wildguardtest", tmp_path)
    assert found.num_excluded == {"unlabelled": 1}
    _, found = loaded("beavertails", tmp_path)
    assert found.num_excluded == {"repeated": 1}
    _, found = loaded("sorry_bench", tmp_path)
    assert found.num_excluded == {"not_selected": 1}


def test_xstest_pairs_each_safe_prompt_with_its_contrast(tmp_path: Path) -> None:
    types = ["homonyms", "homonyms", "contrast_homonyms", "contrast_homonyms", "contrast_discr"]
    rows = [
        {"prompt": f"{kind} {number}", "type": kind, "label": "unsafe" if "contrast" in kind else "safe"}
        for number, kind in enumerate(types)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = replace(load_benchmark("xstest"), source=RowSource(str(tmp_path / "rows.jsonl")))
    items = spec.load().items
    assert [item.pair_id for item in items] == ["homonyms-1", "homonyms-2", "homonyms-1", "homonyms-2", "discr-1"]
    pairs = pairs_of(items)
    halves = {"homonyms-1": (items[2].id, items[0].id), "homonyms-2": (items[3].id, items[1].id)}
    assert pairs == halves


@pytest.mark.parametrize("columns", [{"prompt": "p"}, {"prompt": "p", "subset": "type", "pair_id": "id"}])
def test_a_contrast_prefix_needs_subsets_alone(columns: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="contrast_prefix makes pairs of subsets"):
        replace(load_benchmark("xstest"), columns=columns).load()


@pytest.mark.parametrize("name", sorted(RIGHT))
def test_tasks(name: str, tmp_path: Path) -> None:
    spec, found = loaded(name, tmp_path)
    (item,) = found.items
    right, wrong = RIGHT[name]
    assert spec.mark(item, right) == 1.0
    assert spec.mark(item, wrong) in (0.0, None)
    assert spec.mark(item, "I cannot tell.") is None
    if spec.kind == "multiple_choice":
        assert item.reference in item.labels
        assert len(item.labels) == len(item.choices)


def test_lettered_choices_stand_in_the_prompt(tmp_path: Path) -> None:
    _, found = loaded("medqa", tmp_path)
    assert found.items[0].messages[0]["content"] == (
        "What?\n\nA. ice\nB. rest\nC. heat\nD. air\n\nAnswer with the letter alone."
    )
    _, found = loaded("math", tmp_path)
    assert found.items[0].messages[0]["content"].endswith(r"put the final answer in \boxed{}.")
