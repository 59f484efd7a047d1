from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from grsap.data.hub_task import HubTask
from grsap.errors import DataError, MissingPackageError

ROWS = [
    {"question": "2+2?", "answer": "2+2 is 4 #### 4", "level": 1},
    {"question": "1+1?", "answer": "#### 2", "level": 2},
]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list:
    """A stand-in for `datasets` that records what it is asked for."""
    made: list = []

    def load_dataset(path, name=None, *, revision=None, split=None):
        made.append((path, name, revision, split))
        if path == "nobody/nothing":
            raise FileNotFoundError("Couldn't find nobody/nothing")
        return ROWS if split == "train" else ROWS[:1]

    module = ModuleType("datasets")
    module.load_dataset = load_dataset
    module.load_dataset_builder = lambda path, name=None, *, revision=None: SimpleNamespace(name="parquet")
    monkeypatch.setitem(sys.modules, "datasets", module)
    return made


def test_columns_name_and_revision(calls: list):
    task = HubTask("openai/gsm8k", "main", "abc", columns={"prompt": "question", "response": "answer"})
    assert task.rows("train")[1]["messages"] == [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "#### 2"},
    ]
    assert len(task.rows("test")) == 1
    assert task.rows("validation") == []
    task.rows("train")
    assert calls == [("openai/gsm8k", "main", "abc", "train"), ("openai/gsm8k", "main", "abc", "test")]


def test_templates_and_split_names(calls: list):
    task = HubTask(
        "a/b",
        splits={"train": "train", "validation": "test[:10]"},
        prompt_template="Level {level}: {question}",
        response_template="Answer: {answer}",
    )
    task.prepare_data()
    assert calls == [("a/b", None, None, "train"), ("a/b", None, None, "test[:10]")]
    assert task.rows("validation")[0] == {
        **ROWS[0],
        "messages": [
            {"role": "user", "content": "Level 1: 2+2?"},
            {"role": "assistant", "content": "Answer: 2+2 is 4 #### 4"},
        ],
    }


def test_template_with_an_unknown_column(calls: list):
    task = HubTask("a/b", prompt_template="{query}", columns={"response": "answer"})
    with pytest.raises(DataError, match=r"line 1: prompt_template '\{query\}' does not fit \('query'\)"):
        task.rows("train")


def test_a_set_that_is_not_there(calls: list):
    with pytest.raises(
        DataError, match=r"data set nobody/nothing \(name None, split train\) cannot be loaded: Couldn't"
    ):
        HubTask("nobody/nothing").prepare_data()


def folder(path: Path, **files: str) -> str:
    path.mkdir()
    for name, text in files.items():
        (path / name.replace("_", ".")).write_text(text)
    return str(path)


def turns(task: HubTask) -> list[list[str]]:
    return [[turn["content"] for turn in row["messages"]] for row in task.rows("train")]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.usefixtures("cache")
def test_cells_of_csv_files_are_text_as_it_stands(tmp_path: Path):
    path = folder(tmp_path / "set", train_csv="q,a,hint\nCode of Namibia?,NA,\nAgent?,007,null\nZIP?,01001,1e5\n")
    task = HubTask(path, splits={"train": "train"}, prompt_template="{q} {hint}", columns={"response": "a"})
    assert turns(task) == [["Code of Namibia? ", "NA"], ["Agent? null", "007"], ["ZIP? 1e5", "01001"]]
    twice = HubTask(path, splits={"train": "train[1:]+train[:1]"}, columns={"prompt": "q", "response": "a"})
    assert [answer for _, answer in turns(twice)] == ["007", "01001", "NA"]


@pytest.mark.usefixtures("cache")
def test_null_is_no_word(tmp_path: Path):
    lines = '{"q": "a", "hint": "x", "a": "b"}\n{"q": "c", "hint": null, "a": "d"}\n'
    path = folder(tmp_path / "set", train_jsonl=lines)
    settings = {"splits": {"train": "train"}, "columns": {"response": "a"}}
    with pytest.raises(
        DataError, match=r"\[train\], line 2: column 'hint' is null, and prompt_template needs it. Fill or remove"
    ):
        HubTask(path, prompt_template="{q} {hint}", **settings).rows("train")
    with pytest.raises(DataError, match=r"line 2: column 'hint' is null. Fill or remove the row"):
        HubTask(path, splits={"train": "train"}, columns={"prompt": "q", "response": "hint"}).rows("train")
    assert turns(HubTask(path, prompt_template="{q}", **settings)) == [["a", "b"], ["c", "d"]]


@pytest.mark.usefixtures("cache")
def test_what_datasets_makes_a_date_of_is_not_written_as_python_writes_it(tmp_path: Path):
    path = folder(tmp_path / "set", train_jsonl='{"q": "a", "a": "2024-05-01"}\n')
    for settings in (
        {"prompt_template": "{q}", "response_template": "{a}"},
        {"columns": {"prompt": "q", "response": "a"}},
    ):
        with pytest.raises(DataError, match=r"line 1: .*a'? (is )?of type datetime, not text"):
            HubTask(path, splits={"train": "train"}, **settings).rows("train")


@pytest.mark.usefixtures("cache")
def test_a_folder_by_save_to_disk_is_read(tmp_path: Path):
    import datasets

    rows = datasets.Dataset.from_dict({"prompt": ["a", "c"], "response": ["b", "d"]})
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"learn": rows}).save_to_disk(tmp_path / "several")
    assert turns(HubTask(str(tmp_path / "one"), splits={"train": "train"})) == [["a", "b"], ["c", "d"]]
    assert turns(HubTask(str(tmp_path / "several"), splits={"train": "learn"})) == [["a", "b"], ["c", "d"]]
    with pytest.raises(DataError, match=r"split train\) cannot be loaded: its splits are learn"):
        HubTask(str(tmp_path / "several"), splits={"train": "train"}).rows("train")


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("files", "split", "reason"),
    [
        ({"train_jsonl": '{"prompt": "a", "response": "b"}\n{"prompt": "c", "resp\n'}, "train", "JSON parse error"),
        ({"train_jsonl": '{"prompt": "a", "response": "b", "response": "c"}\n'}, "train", "specified twice"),
        ({"train_csv": "prompt,response\na,b\nc,d,e,f\n"}, "train", "Expected 2 fields in line 3, saw 4"),
        ({"train_csv": "prompt,response\na,b\n"}, "training", "Bad split: training. Available"),
        ({"train_parquet": "no"}, "train", "Parquet"),
        ({}, "train", "data files"),
    ],
)
def test_files_that_datasets_cannot_read(tmp_path: Path, files: dict[str, str], split: str, reason: str):
    path = folder(tmp_path / "set", **files)
    with pytest.raises(DataError, match=rf"data set .*split {split}\) cannot be loaded: .*{reason}"):
        HubTask(path, splits={"train": split}).rows("train")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match="the extra `hub`"):
        HubTask("openai/gsm8k").prepare_data()
