"""What pages name exists: options, settings, arguments of classes, files, tests, make targets, headings and scripts."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from resources.site.parsers import parser_of
from resources.site.settings import PARSED
from tests.page_blocks import BLOCK, ROOT
from tests.test_docs import ALL_COMMANDS, PAGES, READERS_OWN, ids, make_targets

from grsap.cli import main
from grsap.evaluation import load_benchmark

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
ANCHOR = re.compile(r"\]\(([^)\s#]*)#([^)\s]+)\)")
PACKAGES = ("callbacks", "curation", "data", "embedding", "evaluation", "generation", "judging", "objectives")
PACKAGES += ("similarity", "synthesis", "training", "models")


def spans(page: Path) -> Iterator[str]:
    """What a page's text has in backticks, without its blocks."""
    yield from SPAN.findall(FENCE.sub("", page.read_text(encoding="utf-8")))


@functools.cache
def options_of(verb: str) -> frozenset[str]:
    """The options of a verb, as its parser or its help has them."""
    if verb in ("report", "doctor"):
        module = importlib.import_module(f"grsap.commands.{verb}")
        return frozenset(re.findall(r"--[\w-]+", inspect.getsource(module)))
    flags = {"--resume", "--dry-run", "--base", "--trust-module", "--debug", "--print_config", "--help"}
    return frozenset({*flags, *parser_of(verb if verb in PARSED else "fit")._option_string_actions})


def has_option(verb: str, option: str) -> bool:
    """Whether a verb has an option. Below a class's `init_args` anything may be, and below a study's own keys."""
    name = option.partition("=")[0].partition(".init_args")[0]
    above, _, last = name.rpartition(".")
    is_argument = above in options_of(verb) and last in class_arguments()
    return name in options_of(verb) or is_argument or (verb == "study" and above in ("--axes", "--choices"))


@functools.cache
def class_arguments() -> frozenset[str]:
    """Names of arguments of grsap's classes, which a setting that takes a class also has."""
    classes = [each for each in exported().values() if inspect.isclass(each)]
    return frozenset(name for each in classes for name in inspect.signature(each).parameters)


@functools.cache
def settings() -> frozenset[str]:
    """The dotted settings of all verbs."""
    return frozenset(name[2:] for verb in PARSED for name in options_of(verb) if name.startswith("--"))


@functools.cache
def exported() -> dict[str, object]:
    """The classes of grsap's packages, by name."""
    modules = [importlib.import_module(f"grsap.{name}") for name in PACKAGES]
    return {name: getattr(module, name) for module in modules for name in getattr(module, "__all__", ())}


def grsap_commands() -> list[tuple[Path, list[str]]]:
    return [(page, words) for page, words in ALL_COMMANDS if Path(words[0]).name == "grsap" and len(words) > 1]


@pytest.mark.parametrize(("page", "words"), grsap_commands(), ids=ids)
def test_the_options_of_a_command_exist(page: Path, words: list[str]) -> None:
    unknown = [word for word in words[2:] if word.startswith("--") and not has_option(words[1], word)]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_options_in_the_text_exist(page: Path) -> None:
    named = [
        match for span in spans(page) if span.startswith(("--", "grsap ")) for match in re.findall(r"--[\w.-]+", span)
    ]
    verbs = (*PARSED, "validate", "report", "doctor")
    unknown = [name for name in named if not any(has_option(verb, name) for verb in verbs)]
    others = (ROOT / "benchmarks" / "__main__.py").read_text() if page.parent.name == "benchmarks" else ""
    assert [name for name in unknown if f'"{name}"' not in others] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_settings_in_the_text_exist(page: Path) -> None:
    first = {name.partition(".")[0] for name in settings() if "." in name}
    named = [span for each in spans(page) if (span := re.split(r"[:=\s]", each)[0]).partition(".")[0] in first]
    dotted = [span.partition(".init_args")[0] for span in named if re.fullmatch(r"\w+(\.\w+)+", span)]
    files = (".json", ".jsonl", ".yaml", ".csv", ".py", ".log", ".md", ".ckpt")
    named = [name for name in dotted if not name.endswith(files)]
    assert [name for name in named if not any(has_option(verb, f"--{name}") for verb in PARSED)] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_arguments_and_members_of_classes_exist(page: Path) -> None:
    missing = []
    for span in spans(page):
        for name, member in re.findall(r"^([A-Z]\w+)\.([a-z]\w*)", span):
            if (found := exported().get(name)) is not None:
                assert isinstance(found, type)
                declared = {*inspect.signature(found).parameters, *getattr(found, "__annotations__", ())}
                if not hasattr(found, member) and member not in declared:
                    missing.append(f"{name}.{member}")
    assert missing == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "coming_from.md"], ids=ids)
def test_names_in_backticks_are_in_the_sources(page: Path) -> None:
    """Words with an underscore, and class names: a setting, key or class that was renamed is no longer found.

    coming_from.md names settings of other trainers.
    """
    named = re.compile(r"(?<![\w./-])[A-Za-z]+(?:_[A-Za-z0-9]+)+(?![\w./-])|\b[A-Z][a-z]+[A-Z]\w+")
    words = {word for span in spans(page) if "my_" not in span for word in named.findall(span)}
    known = source_words() | set(re.findall(r"\w+", " ".join(FENCE.findall(page.read_text(encoding="utf-8")))))
    assert sorted(word for word in words if word not in known and word not in OTHERS) == []


OTHERS = {"interleave_probs", "safety_dataset", "HTTPS_PROXY", "THP_MEM_ALLOC_ENABLE"}
"""Names of other programs; and keys of transcripts that are put together: `judge_` and a key of a verdict."""
OTHERS |= {"judge_raw", "judge_reason", "judge_truncated", "judge_scores"}


@functools.cache
def source_words() -> frozenset[str]:
    """All words of sources, configs and tools, with the names of these files, and the names of tests."""
    folders = [ROOT / name for name in ("src", "configs", "resources", "benchmarks")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".yaml", ".jinja")]
    texts = [path.stem + "\n" + path.read_text(encoding="utf-8") for path in files]
    texts += [(ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "pyproject.toml", "mkdocs.yml")]
    return frozenset([*re.findall(r"\w+", "\n".join(texts)), *names_of_tests()])


@functools.cache
def names_of_tests() -> frozenset[str]:
    """The names of all tests."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    return frozenset(re.findall(r"^def (test_\w+)", "\n".join(texts), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_files_tests_and_targets_in_the_text_exist(page: Path) -> None:
    missing = []
    for span in spans(page):
        path, _, test = span.partition("::")
        if re.fullmatch(r"(?:configs|docs|resources|src|tests|benchmarks|examples)/[\w./-]+", path):
            file = ROOT / path
            is_there = file.exists() and (not test or f"def {test}(" in file.read_text(encoding="utf-8"))
        else:
            target = re.fullmatch(r"make ([a-z-]+)", span)
            is_there = target is None or target[1] in make_targets()
        if beginning := re.fullmatch(r"(test_\w+_)\.\.\.", span):
            is_there = any(name.startswith(beginning[1]) for name in names_of_tests())
        if not is_there:
            missing.append(span)
    assert missing == []


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as hosts and the site make them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_to_headings(page: Path) -> None:
    found = ANCHOR.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    local = [(page.parent / path if path else page, anchor) for path, anchor in found if "://" not in path]
    assert [f"{path.name}#{anchor}" for path, anchor in local if anchor not in headings(path)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "resources").rglob("*.py")), ids=lambda path: path.name)
def test_a_script_imports_what_exists(path: Path) -> None:
    missing = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("grsap"):
            module = importlib.import_module(node.module)
            missing += [each.name for each in node.names if not hasattr(module, each.name)]
    assert missing == []


def test_scripts_in_commands_exist() -> None:
    scripts = [words[1] for _, words in ALL_COMMANDS if Path(words[0]).name.startswith("python")]
    named = [script for script in scripts if script.endswith(".py") and not script.startswith(READERS_OWN)]
    assert "resources/evidence.py" in named
    assert [script for script in named if not (ROOT / script).is_file()] == []


def yaml_of(page: str, beginning: str) -> str:
    """The YAML block of a page that begins so."""
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    (found,) = [text for language, _, text in blocks if language == "yaml" and text.startswith(beginning)]
    return str(found)


@pytest.mark.parametrize(
    ("verb", "parts"),
    [
        ("fit", [("README.md", "run_dir:")]),
        ("fit", [("README.md", "run_dir:"), ("docs/formats.md", "data:\n  task:")]),
        ("study", [("docs/paper.md", "output_dir:")]),
    ],
)
def test_a_config_in_the_text_is_read(
    verb: str, parts: list[tuple[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = []
    for number, (page, beginning) in enumerate(parts):
        (tmp_path / f"{number}.yaml").write_text(yaml_of(page, beginning))
        words += ["--config", str(tmp_path / f"{number}.yaml")]
    assert main([verb, *words, "--print_config"]) == 0, capsys.readouterr().err


def test_the_benchmark_in_the_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "my_requests.csv").write_text(
        "text,topic,label\nHow do I pick a lock?,theft,unsafe\nHi there,none,safe\n"
    )
    text = yaml_of("docs/formats.md", "name: my_requests").replace("my_requests.csv", str(tmp_path / "my_requests.csv"))
    (tmp_path / "my.yaml").write_text(text)
    items = load_benchmark(str(tmp_path / "my.yaml")).load().items
    assert [(item.prompt_harmful, item.domain) for item in items] == [(True, "theft"), (False, "none")]
