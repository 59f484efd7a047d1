"""Benchmark specs with wrong keys, kinds, columns, templates and labels, and rows that do not fit them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from tests.badinput.case import Case, Content
from tests.badinput.worlds import BENCHMARK

CHOICES = {
    "name": "mine",
    "kind": "multiple_choice",
    "source": {"path": "quiz.csv"},
    "columns": {"prompt": "q", "reference": "right"},
    "choices": ["{a}", "{b}"],
}
ANSWER = {
    "name": "mine",
    "kind": "answer",
    "source": {"path": "sums.csv"},
    "columns": {"prompt": "q", "reference": "right"},
    "answer": "number",
}
FILES: dict[str, Content] = {
    "quiz.csv": "q,a,b,right\nWhich is round?,a ball,a box,A\nWhich is wet?,sand,rain,B\n",
    "sums.csv": "q,right\nWhat is 1 and 2?,3\nWhat is 2 and 2?,4\n",
}
BASES = {"safety": BENCHMARK, "choices": CHOICES, "answer": ANSWER}

CHANGES: dict[str, tuple[str, Mapping[str, Any], str]] = {
    "name-capital": ("safety", {"name": "Mine"}, "Mine"),
    "name-slash": ("safety", {"name": "a/../b"}, "a/../b"),
    "name-empty": ("safety", {"name": ""}, "name"),
    "name-number": ("safety", {"name": 5}, "name"),
    "name-null": ("safety", {"name": None}, "name"),
    "kind-unknown": ("safety", {"kind": "harm"}, "kind"),
    "kind-list": ("safety", {"kind": ["safety"]}, "kind"),
    "key-unknown": ("safety", {"colums": {}}, "columns"),
    "source-text": ("safety", {"source": "prompts.csv"}, "source"),
    "source-null": ("safety", {"source": None}, "source"),
    "source-list": ("safety", {"source": ["prompts.csv"]}, "source"),
    "source-empty": ("safety", {"source": {}}, "source.path"),
    "source-unknown_key": ("safety", {"source": {"path": "prompts.csv", "sep": ";"}}, "source.sep"),
    "source-missing_file": ("safety", {"source": {"path": "no.csv"}}, "no.csv"),
    "source-suffix": ("safety", {"source": {"path": "prompts.xlsx"}}, "prompts.xlsx"),
    "source-nul": ("safety", {"source": {"path": "a\0b.csv"}}, "NUL"),
    "columns-list": ("safety", {"columns": ["text"]}, "columns"),
    "columns-unknown": ("safety", {"columns": {"prompt": "text", "colour": "red"}}, "colour"),
    "columns-missing": ("safety", {"columns": {"prompt": "txt"}}, "prompts.csv, line 2: no column 'txt'"),
    "columns-number": ("safety", {"columns": {"prompt": 5}}, "columns"),
    "columns-messages_of_text": ("safety", {"columns": {"messages": "text"}}, "prompts.csv, line 2"),
    "prompt_template-missing": ("safety", {"prompt_template": "{no_such}"}, "prompt_template"),
    "prompt_template-open": ("safety", {"prompt_template": "{text"}, "prompt_template"),
    "prompt_template-close": ("safety", {"prompt_template": "text}"}, "prompt_template"),
    "prompt_template-positional": ("safety", {"prompt_template": "{}"}, "prompt_template"),
    "prompt_template-number": ("safety", {"prompt_template": "{0}"}, "prompt_template"),
    "prompt_template-index": ("safety", {"prompt_template": "{text[no]}"}, "prompt_template"),
    "prompt_template-attribute": ("safety", {"prompt_template": "{text.__class__}"}, "prompt_template"),
    "prompt_template-width": ("safety", {"prompt_template": "{text:>99999999999}"}, "prompt_template"),
    "prompt_template-nested_width": ("safety", {"prompt_template": "{text:{text}}"}, "prompt_template"),
    "prompt_template-conversion": ("safety", {"prompt_template": "{text!x}"}, "prompt_template"),
    "prompt_template-list": ("safety", {"prompt_template": ["{text}"]}, "prompt_template"),
    "prompt_harmful-missing": ("safety", {"prompt_harmful": None}, "prompt_harmful"),
    "prompt_harmful-text": ("safety", {"prompt_harmful": "yes"}, "prompt_harmful"),
    "prompt_harmful-no_column": (
        "safety",
        {"prompt_harmful": {"column": "no", "harmful": ["a"], "harmless": ["b"]}},
        "prompt_harmful.column",
    ),
    "prompt_harmful-no_value": (
        "safety",
        {"prompt_harmful": {"column": "label", "harmful": ["a"], "harmless": ["b"]}},
        "unlabelled",
    ),
    "prompt_harmful-keys_missing": ("safety", {"prompt_harmful": {"column": "label"}}, "prompt_harmful.harmful"),
    "prompt_harmful-values_text": (
        "safety",
        {"prompt_harmful": {"column": "label", "harmful": "a", "harmless": []}},
        "prompt_harmful.harmful",
    ),
    "where-list": ("safety", {"where": ["text"]}, "where"),
    "where-text": ("safety", {"where": {"label": "safe"}}, "where"),
    "where-no_column": ("safety", {"where": {"no_such": ["a"]}}, "where"),
    "where-nothing_left": ("safety", {"where": {"label": ["neither"]}}, "not_selected"),
    "choices-of_safety": ("safety", {"choices": ["a", "b"]}, "choices"),
    "answer-of_safety": ("safety", {"answer": "number"}, "answer"),
    "limit-zero": ("safety", {"limit": 0}, "limit"),
    "limit-negative": ("safety", {"limit": -1}, "limit"),
    "limit-text": ("safety", {"limit": "all"}, "limit"),
    "limit-fraction": ("safety", {"limit": 1.5}, "limit"),
    "limit-true": ("safety", {"limit": True}, "limit"),
    "dedupe-text": ("safety", {"dedupe": "always"}, "dedupe"),
    "seed-null": ("safety", {"seed": None}, "seed"),
    "extends-unknown": ("safety", {"extends": "no_such"}, "no_such"),
    "extends-itself": ("safety", {"extends": "mine.yaml"}, "mine.yaml"),
    "extends-number": ("safety", {"extends": 5}, "extends"),
    "extends-list": ("safety", {"extends": ["gsm8k"]}, "extends"),
    "id-twice": ("safety", {"columns": {"prompt": "text", "id": "same"}}, "no column 'same'"),
    "reference-missing": ("choices", {"columns": {"prompt": "q"}}, "reference"),
    "choices-empty": ("choices", {"choices": []}, "choices"),
    "choices-one": ("choices", {"choices": ["{a}"]}, "choices"),
    "choices-text": ("choices", {"choices": "{a}"}, "choices"),
    "choices-no_column": ("choices", {"choices": ["{a}", "{c}"]}, "choices"),
    "choices-too_many": ("choices", {"choices": [f"{n}" for n in range(27)]}, "27 choices"),
    "labels-too_few": ("choices", {"labels": ["yes"]}, "labels"),
    "labels-other_words": ("choices", {"labels": ["yes", "no"]}, "quiz.csv, line 2"),
    "labels-number": ("choices", {"labels": [1, 2]}, "labels"),
    "reference_labels-list": ("choices", {"reference_labels": ["A"]}, "reference_labels"),
    "reference_labels-unknown": ("choices", {"reference_labels": {"A": "Z"}}, "quiz.csv, line 2"),
    "prompt_harmful-of_choices": ("choices", {"prompt_harmful": True}, "prompt_harmful"),
    "answer-unknown": ("answer", {"answer": "colour"}, "answer"),
    "answer-no_number": (
        "answer",
        {"columns": {"prompt": "q", "reference": "q"}, "prompt_template": "{q}", "answer": "math"},
        "sums.csv, line 2",
    ),
}
ROWS: dict[str, tuple[str, str, Content, str]] = {
    "csv-empty": ("safety", "prompts.csv", "", "prompts.csv"),
    "csv-header_only": ("safety", "prompts.csv", "text,topic,label\n", "prompts.csv"),
    "csv-too_many_cells": ("safety", "prompts.csv", "text,topic,label\na,b,safe,d\n", "prompts.csv, line 2"),
    "csv-too_few_cells": ("safety", "prompts.csv", "text,topic,label\na,b\n", "prompts.csv, line 2"),
    "csv-open_quote": ("safety", "prompts.csv", 'text,topic,label\n"a,b,safe\n', "prompts.csv, line 2"),
    "csv-quote_inside": ("safety", "prompts.csv", 'text,topic,label\n"a"b,c,safe\n', "prompts.csv, line 2"),
    "csv-header_twice": ("safety", "prompts.csv", "text,text,label\na,b,safe\n", "prompts.csv"),
    "csv-header_empty": ("safety", "prompts.csv", "text,,label\na,b,safe\n", "prompts.csv"),
    "csv-semicolons": ("safety", "prompts.csv", "text;topic;label\na;b;safe\n", "prompts.csv, line 2"),
    "csv-latin1": ("safety", "prompts.csv", "text,topic,label\ncaf\u00e9,b,safe\n".encode("latin-1"), "prompts.csv"),
    "csv-utf16": ("safety", "prompts.csv", "text,topic,label\na,b,safe\n".encode("utf-16"), "prompts.csv"),
    "csv-nul": ("safety", "prompts.csv", b"text,topic,label\na\x00,b,safe\n", "prompts.csv"),
    "csv-huge_cell": (
        "safety",
        "prompts.csv",
        "text,topic,label\n" + "x" * 10_100_000 + ",b,safe\n",
        "prompts.csv, line 2",
    ),
    "csv-empty_prompts": ("safety", "prompts.csv", "text,topic,label\n,b,safe\n", "empty_text"),
    "quiz-wrong_letter": ("choices", "quiz.csv", "q,a,b,right\nWhich?,x,y,C\n", "quiz.csv, line 2"),
    "quiz-no_answer": ("choices", "quiz.csv", "q,a,b,right\nWhich?,x,y,\n", "quiz.csv, line 2"),
    "sums-words": ("answer", "sums.csv", "q,right\nWhat is 1 and 2?,three apples\n", "sums.csv, line 2"),
    "spec-empty": ("safety", "mine.yaml", "", "mine.yaml"),
    "spec-list": ("safety", "mine.yaml", "[a]", "mine.yaml"),
    "spec-cut": ("safety", "mine.yaml", "name: mine\nkind: [", "mine.yaml"),
    "spec-python": ("safety", "mine.yaml", "name: !!python/name:os.system\n", "mine.yaml"),
    "spec-deep": ("safety", "mine.yaml", "name: " + "[" * 3_000, "mine.yaml"),
    "spec-binary": ("safety", "mine.yaml", bytes(range(256)), "mine.yaml"),
    "spec-name_only": ("safety", "mine.yaml", "name: mine\n", "mine.yaml"),
}

CASES = [
    Case(
        f"evaluate-spec-{name}",
        "evaluate",
        (named,),
        files={**FILES, "mine.yaml": yaml.safe_dump({**BASES[base], **changed})},
    )
    for name, (base, changed, named) in CHANGES.items()
]
CASES += [
    Case(
        f"evaluate-rows-{name}",
        "evaluate",
        (named,),
        files={**FILES, "mine.yaml": yaml.safe_dump(BASES[base]), file: content},
    )
    for name, (base, file, content, named) in ROWS.items()
]
