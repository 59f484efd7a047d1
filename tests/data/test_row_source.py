from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from grsap.data import tables
from grsap.data.hub_task import HubTask
from grsap.data.row_source import RowSource
from grsap.errors import ConfigError, DataError, MissingPackageError
from grsap.files import hash_file


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def data_set(folder: Path, configs: dict[str, dict[str, str]], files: dict[str, str]) -> str:
    """A folder that `datasets` reads: configuration -> split -> file."""
    folder.mkdir(exist_ok=True)
    lines = ["---", "configs:"]
    for name, splits in configs.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        for split, file in splits.items():
            lines += [f"  - split: {split}", f"    path: {file}"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    for file, text in files.items():
        (folder / file).write_text(text)
    return str(folder)


def test_a_file_with_places_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": "one"}\n\n{"q": "two"}\n')
    source = RowSource(str(path), splits=["test"])  # which a file does not have
    source.check()
    assert [(place.line, row["q"]) for place, row in source.rows()] == [(1, "one"), (3, "two")]
    assert source.describe() == {"path": "a.jsonl", "hash": hash_file(path)}


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "a.jsonl"
    path.write_text("{}\n")
    monkeypatch.setitem(tables.READERS, ".jsonl", fail)  # root may read anything
    with pytest.raises(DataError, match=r"a.jsonl: cannot be read: Permission denied"):
        list(RowSource(str(path)).rows())


def test_configurations_and_splits_follow_each_other(tmp_path: Path) -> None:
    path = data_set(
        tmp_path / "set",
        {"a": {"x": "ax.csv", "y": "ay.csv"}, "b": {"x": "bx.csv", "y": "by.csv"}},
        {"ax.csv": "q\n1\n2\n", "ay.csv": "q\n3\n", "bx.csv": "q\n4\n", "by.csv": "q\n5\n"},
    )
    source = RowSource(path, names=["a", "b"], splits=["x", "y"])
    source.check()
    rows = list(source.rows())
    assert [(row["config"], row["split"], row["q"]) for _, row in rows] == [
        ("a", "x", "1"),
        ("a", "x", "2"),
        ("a", "y", "3"),
        ("b", "x", "4"),
        ("b", "y", "5"),
    ]
    assert (rows[1][0].path, rows[1][0].line) == (f"{path} a [x]", 2)
    described = source.describe()
    assert (described["path"], described["commit"]) == ("set", None)


def test_options_read_what_has_tabs_or_no_header(tmp_path: Path) -> None:
    tabs = data_set(
        tmp_path / "tabs", {"eval": {"train": "a.csv"}}, {"a.csv": "q\tlabel\nNone, or nothing\t1\nNone\t0\n"}
    )
    options = {"sep": "\t", "keep_default_na": False}
    rows = [row for _, row in RowSource(tabs, ["eval"], ["train"], options=options).rows()]
    assert [(row["q"], row["label"]) for row in rows] == [("None, or nothing", "1"), ("None", "0")]
    bare = data_set(tmp_path / "bare", {"default": {"one": "a.csv"}}, {"a.csv": "first\nsecond\n"})
    options = {"header": None, "names": ["prompt"]}
    rows = [row for _, row in RowSource(bare, None, ["one"], options=options).rows()]
    assert [(row["prompt"], row["split"]) for row in rows] == [("first", "one"), ("second", "one")]


def test_a_file_by_its_address_or_path(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt\none\n")
    source = RowSource("csv", splits=["train"], options={"data_files": str(tmp_path / "a.csv")})
    source.check()
    assert [row["prompt"] for _, row in source.rows()] == ["one"]
    assert source.data_set.page == ""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (RowSource("a/b"), "splits is missing"),
        (RowSource("missing.csv"), "missing.csv: no such file"),
    ],
)
def test_wrong_settings(source: RowSource, message: str) -> None:
    with pytest.raises((ConfigError, DataError)) as raised:
        source.check()
    assert message in str(raised.value)


@pytest.mark.parametrize(("names", "splits"), [(["c"], ["x"]), (["a"], ["z"])])
def test_a_configuration_or_split_that_is_not_there(tmp_path: Path, names: list[str], splits: list[str]) -> None:
    path = data_set(tmp_path / "set", {"a": {"x": "ax.csv"}}, {"ax.csv": "q\n1\n"})
    with pytest.raises(DataError, match=rf"name {names[0]}, split {splits[0]}\) cannot be loaded"):
        list(RowSource(path, names=names, splits=splits).rows())


def test_a_data_set_that_was_not_fetched_is_told_offline() -> None:
    source = RowSource("nobody/nothing", splits=["test"])
    source.check()  # without the network nothing can be asked
    with pytest.raises(DataError, match=r"see https://huggingface\.co/datasets/nobody/nothing"):
        list(source.rows())


def test_the_package_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match="the extra `hub`"):
        RowSource("a/b", splits=["test"]).check()


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """What the Hub answers for an open set, a gated one and one that does not exist."""

    def do_GET(self) -> None:
        code, body, error = 404, {"error": "Repository not found"}, "RepoNotFound"
        if self.path.endswith("/auth-check"):
            code, body, error = 403, {"error": "Access to dataset is restricted"}, "GatedRepo"
        elif self.path.startswith(("/api/datasets/some/open", "/api/datasets/some/gated")):
            name = self.path.split("/")[4].split("?")[0]
            gated = "auto" if name == "gated" else False
            code, body, error = 200, {"id": f"some/{name}", "sha": COMMIT, "gated": gated, "siblings": []}, ""
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if error:
            self.send_header("X-Error-Code", error)
            self.send_header("X-Error-Message", body["error"])
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def ask(name: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    source = RowSource(f"some/{name}", splits=["test"], revision="main")
    source.check()
    commit: str | None = source.describe()["commit"]
    return commit


def test_the_hub_tells_the_commit(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("open", hub, monkeypatch) == COMMIT


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gated", "Accept its licence at https://huggingface.co/datasets/some/gated, then log in"),
        ("nothing", "data set some/nothing (revision main) is not available: "),
    ],
)
def test_access_is_checked_before_any_row(hub: str, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        ask(name, hub, monkeypatch)
    assert message in str(raised.value)


def test_a_task_reads_the_commit_that_its_branch_names_and_the_manifest_records_it(
    hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    asked: list[str | None] = []

    def load_dataset(path: str, name: str | None, *, revision: str | None, split: str) -> list[dict[str, str]]:
        asked.append(revision)
        return [{"prompt": "a", "response": "b"}]

    module = ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    module.load_dataset_builder = lambda path, name, *, revision: SimpleNamespace(name="parquet")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", hub)
    task = HubTask("some/open", revision="main")
    assert len(task.rows("train")) == 1
    assert asked == [COMMIT]
    assert task.describe() == {
        "path": "some/open",
        "revision": "main",
        "commit": COMMIT,
        "names": None,
        "splits": {"train": "train", "test": "test"},
    }
    with pytest.raises(DataError, match=r"Accept its licence at https://huggingface.co/datasets/some/gated"):
        HubTask("some/gated").prepare_data()


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"the request to the Hub for some/open failed: .*set HF_HUB_OFFLINE=1"):
        ask("open", "http://127.0.0.1:9", monkeypatch)
