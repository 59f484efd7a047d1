"""`grsap synthesize` as a command: help, configs, classes of the working directory, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from grsap.cli import main


@pytest.fixture
def error_of(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: " ".join(capsys.readouterr().err.split())


@pytest.fixture
def config(tmp_path: Path, tiny_base_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    settings = {
        "output_dir": "raw",
        "generator": {
            "class_path": "TransformersGenerator",
            "init_args": {
                "base": {"path": str(tiny_base_path), "quantization": "none", "compute_dtype": "float32"},
                "device": "cpu",
            },
        },
        "quota": {"num_per_domain": 1, "max_attempts": 1},
        "domain_names": ["theft"],
        "query_sampling": {"max_new_tokens": 4, "temperature": 1.0},
        "response_sampling": {"max_new_tokens": 4},
    }
    Path("run.yaml").write_text(yaml.safe_dump(settings))
    return "run.yaml"


def test_help_lists_settings_with_what_they_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synthesize", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for line in ("--quota.num_per_domain", "rows of each domain, before any filter", "--output_dir"):
        assert line in text


def test_the_papers_numbers_are_the_defaults(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = yaml.safe_load(Path(config).read_text())
    del settings["query_sampling"], settings["response_sampling"]
    Path(config).write_text(yaml.safe_dump(settings))
    assert main(["synthesize", "--config", config, "--print_config"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["query_sampling"] == {"max_new_tokens": 256, "temperature": 1.0, "top_p": 1.0, "top_logprobs": None}
    assert shown["response_sampling"] == {
        "max_new_tokens": 1024,
        "temperature": 0.8,
        "top_p": 0.95,
        "top_logprobs": None,
    }
    assert shown["elicitation"]["class_path"] == "grsap.synthesis.AssistantPrefill"
    assert not Path("raw").exists()


MINE = """
from grsap.synthesis import Elicitation, Query


class Mine(Elicitation):
    '''Takes anything.'''

    name = "mine"

    def prompt_ids(self, ask, template):
        return template.prompt_ids([{"role": "user", "content": ask.domain.name}])

    def read(self, ask, answer, template):
        return Query("A query of my own?")
"""


def test_an_elicitation_of_ones_own(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my_elicitation.py").write_text(MINE)
    words = ["synthesize", "--config", config, "--elicitation", "my_elicitation.Mine"]
    assert main(words) == 0
    assert "1 rows" in capsys.readouterr().out
    assert (Path("raw/shard-00000.jsonl").read_text().count('"strategy": "mine"')) == 1
    assert main(words) == 0
    assert "Continuing the work in raw." in capsys.readouterr().err


def test_what_may_change_and_what_may_not(config: str, error_of: Callable[[], str]) -> None:
    Path("my_elicitation.py").write_text(MINE)
    words = ["synthesize", "--config", config, "--elicitation", "my_elicitation.Mine"]
    assert main(words) == 0
    assert main([*words, "--generator.init_args.max_batch_tokens", "64", "--quota.max_tokens", "9000"]) == 0
    error_of()
    assert main([*words, "--quota.num_per_domain", "2", "--seed", "3"]) == 2
    message = error_of()
    assert "output_dir raw holds results of other settings: quota.num_per_domain: 1 -> 2; seed: 0 -> 3." in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--domain_names", "[thef]"], "domain_names: there is no domain 'thef'. Did you mean 'theft'."),
        (["--domains", "no.yaml"], "no.yaml: no such file. Check domains"),
        (["--quota.until_kept", "3"], "quota sets both of num_per_domain and until_kept."),
        (["--quota.num_per_domian", "3"], "--quota.num_per_domian is not an option of grsap synthesize."),
        (["--elicitation.init_args.prefill", "It was:"], "does not end with a double quote"),
        (["--generator.init_args.base.path", "no/such/model"], "is no model folder"),
    ],
)
def test_errors_come_before_weights_and_leave_no_folder(
    words: list[str], message: str, config: str, error_of: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from grsap.models import BaseModel

    monkeypatch.setattr(BaseModel, "load", lambda *a, **k: pytest.fail("weights were loaded"))
    assert main(["synthesize", "--config", config, *words]) == 2
    assert message in error_of()
    assert not Path("raw").exists()
