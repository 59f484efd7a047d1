"""The parser's messages, as a person reads them."""

from __future__ import annotations

import pytest

from grsap.commands.parsing_errors import MAX_LENGTH, parsing_paragraph
from grsap.curation import RowFilter
from grsap.plugins import source_place

TAIL = " All options: grsap VERB --help; the parsed settings: --print_config."


@pytest.mark.parametrize(
    ("message", "paragraph"),
    [
        (
            "Parser key \"model.base.path\":\n  Expected a <class 'str'>. Got value: None",
            "model.base.path: not set, and it must be (str).",
        ),
        (
            'Parser key "data.task":\n\n  - Expected a path but os.system either not accessible or invalid\n'
            "  - Problem with given class_path 'os.system':\n    Importing 'os.system' is not allowed, denied by the "
            "'os' entry of the import path denylist. Add the import path to import_path_allowlist to allow it.",
            "data.task: os.system: settings may not name os.system: add --trust-module os if you trust it.",
        ),
        (
            'Parser key "model.objectives":\n  - Does not validate against any of the Union subtypes\n'
            "  Subtypes: [list[Obj], <class 'NoneType'>]\n  Errors:\n    - Problem with given class_path 'grsap.CE':\n"
            "        Option 'wight' is not accepted\n    - Expected a <class 'NoneType'>\n"
            "  Given value type: <class 'list'>\n  Given value: [{'class_path': 'CE'}]",
            "model.objectives: grsap.CE: wight is not one of its arguments.",
        ),
        (
            'Parser key "data.task":\n  - Expected a dot import path string: Nope',
            "data.task: Nope is not a known class; give its full import path, module.Class.",
        ),
        (
            "Parser key \"model.base.quantization\":\n  Expected a typing.Literal['nf4', 'none']. Got value: nf5",
            "model.base.quantization: Expected a Literal['nf4', 'none']. It is nf5.",
        ),
        (
            "Parser key \"seed\":\n  Expected a <class 'int'>. Got value: words of one's own",
            "seed: must be a whole number. It is words of one's own.",
        ),
        (
            'Parser key "data.task":\n  - Expected a dot import path string: two words',
            "data.task: two words is not a known class; give its full import path, module.Class.",
        ),
        (
            'Parser key "filters":\n  - Expected an instantiatable class, but grsap.curation.RowFilter is abstract',
            f"filters: grsap.curation.RowFilter ({source_place(RowFilter)}) lacks the method decide_row; write it.",
        ),
        (
            'Parser key "judge":\n  - Import path my_judge.WordJudge does not correspond to a subclass of Judge',
            "judge: my_judge.WordJudge is not derived from Judge; derive it from that class.",
        ),
    ],
)
def test_paragraph(message: str, paragraph: str) -> None:
    assert parsing_paragraph(message) == paragraph + TAIL


def test_long_messages_are_cut_between_words() -> None:
    text = parsing_paragraph("word " * 1000)
    assert len(text) <= MAX_LENGTH + len(TAIL) + 4
    assert text.removesuffix(TAIL).endswith("word ...")
