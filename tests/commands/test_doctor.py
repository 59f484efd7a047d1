"""`grsap doctor`: what it finds, and when it fails."""

from __future__ import annotations

import json

import pytest

from grsap.cli import main
from grsap.commands import doctor
from grsap.commands.doctor import Finding, check_extras, check_packages

REQUIRES = ["torch>=2.11", "lightning<2.7,>=2.6.6", "gguf>=0.17; extra == 'quickstart'"]


def versions(**installed: str) -> list[Finding]:
    return check_packages(REQUIRES, lambda package: installed.get(package.replace("-", "_")))


def test_what_fits_is_ok_and_extras_are_left_out() -> None:
    assert versions(torch="2.13.0+cpu", lightning="2.6.6") == [
        Finding("torch", "ok", "2.13.0+cpu"),
        Finding("lightning", "ok", "2.6.6"),
    ]


def test_extras_are_told_and_never_wrong() -> None:
    requires = [*REQUIRES, "openai>=2.0; extra == 'server'", "ruff>=0.9; extra == 'dev'", 'vllm>=0.11; extra == "vllm"']
    installed = {"gguf": "0.19.0", "openai": "3.54.0"}
    assert check_extras(requires, installed.get) == [
        Finding("extra quickstart", "ok", "gguf 0.19.0"),
        Finding("extra server", "ok", "openai 3.54.0"),
        Finding("extra vllm", "note", "not installed: vllm"),
    ]


def test_missing_and_too_old() -> None:
    torch, lightning = versions(lightning="2.6.1")
    assert (torch.status, torch.value, torch.remedy) == ("wrong", "not installed", "pip install 'torch>=2.11'")
    assert (lightning.status, lightning.value) == ("wrong", "2.6.1 is not supported")


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_malicious_releases(version: str) -> None:
    findings = versions(torch="2.13.0", lightning=version, pytorch_lightning=version)
    wrong = [each for each in findings if each.status == "wrong"]
    assert [each.name for each in wrong] == ["lightning", "pytorch-lightning"]
    assert all("malicious" in each.value for each in wrong)


def test_nothing_more_is_imported_once_a_package_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Finding("lightning", "wrong", "2.6.3 is a malicious upload")
    monkeypatch.setattr(doctor, "check_packages", lambda *_: [bad])
    monkeypatch.setattr(doctor, "_quantization", lambda: pytest.fail("a check ran"))
    assert doctor.examine()[-1] is bad


def test_this_installation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    findings = {each["name"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert {"python", "torch", "lightning", "processor", "cuda", "nf4", "cache"} <= set(findings)
    assert findings["nf4"]["value"].startswith("works on cpu (largest error 0.1")
    assert findings["embedded:smollm2-135m-instruct"]["status"] == "ok"


def test_exit_code_and_remedy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    finding = Finding("nf4", "wrong", "wrong results on cpu", "pip install -U bitsandbytes")
    monkeypatch.setattr(doctor, "examine", lambda: [finding])
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "wrong results on cpu" in out
    assert out.splitlines()[-1] == "wrong nf4: pip install -U bitsandbytes"


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Finding:
        raise OSError("no libcuda")

    monkeypatch.setattr(doctor, "_quantization", broken)
    found = [each for each in doctor.examine() if each.value == "OSError: no libcuda"]
    assert [each.status for each in found] == ["wrong"]


def test_a_missing_model_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    finding = doctor._embedded_model()
    assert (finding.status, "--no-deps" in finding.remedy) == ("note", True)


def test_a_wrong_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--jason"]) == 2
    assert capsys.readouterr().err.startswith("error: grsap doctor: unrecognized arguments: --jason.")
