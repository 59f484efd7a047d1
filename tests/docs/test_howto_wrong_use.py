"""Mistakes in the classes and settings of docs/howto: exit code 2, the user's file, class or key, and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.test_howto import MODEL, folder, forget_modules
from tests.page_blocks import BLOCK, ROOT

from grsap.cli import main

__all__ = ["folder"]

VERBS = {"filter": "curate", "judge": "curate", "backend": "evaluate", "benchmark": "evaluate"}
CALLBACK_INIT = "        self.path = Path(path)\n"
FILTER_INIT = "        self.max_words = max_words\n"
ATTRIBUTES = "    tokenizer = template = None  # set in __init__; the base class declares them\n"
ITEM = 'BenchmarkItem(each, [{"role": "user", "content": asked.format(each)}])'

MISTAKES = [
    ("objective", "my_objective.MarginLoss", "my_objectiv.MarginLoss",
     "there is no my_objectiv.py in the working directory, and no installed package my_objectiv; "
     "the nearest is my_objective.py."),
    ("objective", "my_objective.MarginLoss", "my_objective.MarginLos",
     "my_objective.py has no name MarginLos; the nearest is MarginLoss."),
    ("sampler", "my_sampler.StagedSampler", "my_sampler.py.StagedSampler",
     "my_sampler.py has no name py; write module.Class, without .py."),
    ("objective", "init_args: {source: task, margin: 2.0}", "source: task, margin: 2.0",
     "--config my.yaml: model.objectives[2].source is beside class_path. Put it into init_args: {source: ...}."),
    ("objective", "        logits = chunk.logits\n", "        logits = chunk.logits\n        logits *= 2\n",
     "MarginLoss.token_losses (my_objective.py, line 17) changes chunk.logits in place. Other objectives read"),
    ("callback", CALLBACK_INIT, f"{CALLBACK_INIT}\n    def state_dict(self):\n        return {{'f': lambda: 1}}\n",
     "The state of callback StepTimes cannot be written to a checkpoint (AttributeError: Can't pickle local object"),
    ("filter", FILTER_INIT, f"{FILTER_INIT}\n    needs = frozenset({{'embeder'}})\n",
     "Wordiness.needs (my_filter.py, line 4) names 'embeder'. Name embedder or judge."),
    ("filter", FILTER_INIT,
     f"{FILTER_INIT}\n    def decide(self, rows, work):\n        yield from work.kept('x', {{}}, rows, self.compute)\n"
     "\n    def compute(self, piece):\n        return [1]\n",
     "compute of x (my_filter.py, line 17) returns 1 results for 3 rows. Return one JSON value per row, in order."),
    ("backend", "self.template = tokenizer.template(self.tokenizer)",
     "self.template, self.tokenizer = tokenizer.template(self.tokenizer), None",
     "RecordedGenerator.__init__ (my_backend.py, line 19) sets no tokenizer. Set self.tokenizer."),
    ("backend", ATTRIBUTES, f"{ATTRIBUTES}    def identity(self):\n        return 'mine'\n",
     "RecordedGenerator.identity (my_backend.py, line 18) returns a str. Return a dict of JSON values."),
    ("backend", ATTRIBUTES, f"{ATTRIBUTES}    def content_identity(self):\n        return None\n",
     "RecordedGenerator.content_identity (my_backend.py, line 18) returns None. Return a dict of JSON values."),
    ("benchmark", 'kind = "answer"', 'kind = "answers"',
     "Palindromes.kind (my_benchmark.py, line 7) is 'answers'. Give one of safety, multiple_choice, answer."),
    ("benchmark", 'kind = "answer"\n', "\n", "Palindromes.kind (my_benchmark.py, line 7) is None. Give one of safety"),
    ("benchmark", "def mark(", "def score(",
     "Palindromes.kind (my_benchmark.py, line 7) is 'answer', but nothing scores answers. Write mark(self, item, "),
    ("benchmark", "self.letters, self.name = letters, name", "self.letters = letters",
     "Palindromes.__init__ (my_benchmark.py, line 17) sets the name None. Set self.name to a text."),
    ("benchmark", '{"letters": self.letters})', "self)",
     "Palindromes.load (my_benchmark.py, line 24) returns a source that is not JSON (Object of type Palindromes is"),
    ("benchmark", ITEM, "BenchmarkItem(each, asked.format(each))",
     "Palindromes.load (my_benchmark.py, line 24) returns item 'a' whose messages are not turns. Give [{"),
]  # fmt: skip


def write_page(kind: str, base: Path) -> None:
    """Write the files of a page, up to its wrong uses."""
    page = (ROOT / "docs" / "howto" / f"{kind}.md").read_text(encoding="utf-8").replace(MODEL, str(base))
    for _, name, text in BLOCK.findall(page.partition("## What wrong use prints")[0]):
        if name:
            Path(name).write_text(text)


@pytest.mark.parametrize(("kind", "right", "wrong", "expected"), MISTAKES)
def test_a_mistake_names_the_users_file_and_the_remedy(
    kind: str,
    right: str,
    wrong: str,
    expected: str,
    folder: Path,
    tiny_base_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_page(kind, tiny_base_path)
    names = [name for name in (f"my_{kind}.py", "my.yaml") if right in Path(name).read_text()]
    assert len(names) == 1
    Path(names[0]).write_text(Path(names[0]).read_text().replace(right, wrong, 1))
    forget_modules()
    assert main([VERBS.get(kind, "fit"), "--config", "my.yaml"]) == 2
    printed = " ".join(capfd.readouterr().err.split())
    assert expected in printed


def test_a_file_named_like_an_installed_module_is_to_be_renamed(
    folder: Path, tiny_base_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_page("objective", tiny_base_path)
    Path("my_objective.py").rename("queue.py")
    Path("my.yaml").write_text(Path("my.yaml").read_text().replace("my_objective.", "queue."))
    assert main(["fit", "--config", "my.yaml"]) == 2
    printed = " ".join(capfd.readouterr().err.split())
    assert "queue.py has the name of an installed module, which hides it; rename your file." in printed
