from __future__ import annotations

import re
from pathlib import Path

import pytest

from grsap.embedded import resolve
from grsap.errors import ConfigError, DataError
from grsap.records import read_jsonl
from grsap.synthesis import Domain, load_domains

PAPER = (
    "violence; physical harm; animal abuse; self-harm; terrorism; organized crime; human trafficking; aiding and "
    "abetting violence; incitement; hate speech; offensive language; insulting behavior; discriminatory behavior; "
    "stereotypes; injustice; psychological harm; sexual content; sexually explicit/adult content; child abuse; drugs "
    "(drug abuse); banned substances; weapons; cybercrime; white-collar crime; economic crime; financial crime; "
    "property crime; theft; endangering national security; endangering public health; disrupting public order; "
    "misinformation regarding ethics/laws/safety; controversial topics/politics; environmental damage; privacy "
    "violation; copyright issues; mental manipulation; non-violent unethical behavior"
)


def test_the_papers_domains_each_with_a_line_of_definition() -> None:
    domains = load_domains()
    assert len(domains) == 38
    assert {domain.name for domain in domains} == set(PAPER.split("; "))
    assert all(8 < len(domain.definition) < 80 and "." not in domain.definition for domain in domains)
    assert len({domain.definition for domain in domains}) == len({domain.slug for domain in domains}) == 38
    assert len({domain.group for domain in domains}) == 8
    assert all(re.fullmatch(r"[a-z0-9-]+", domain.slug) for domain in domains)


def test_they_are_those_of_the_hand_written_rows() -> None:
    rows = {row["domain"] for _, row in read_jsonl(resolve("embedded:quickstart/replay.jsonl"))}
    assert rows - {"ordinary"} == {domain.name for domain in load_domains()}


def test_a_subset_in_the_order_asked_for() -> None:
    names = ["theft", "drugs (drug abuse)", "violence"]
    domains = load_domains(names=names)
    assert [domain.name for domain in domains] == names
    assert [domain.slug for domain in domains] == ["theft", "drugs-drug-abuse", "violence"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["theft", "weapon"], "domain_names: there is no domain 'weapon'. Did you mean 'weapons'."),
        (["financial crimes"], "Did you mean 'financial crime' or 'organized crime' or 'economic crime'."),
        (["theft", "theft"], "domain_names names a domain twice. Name each domain once."),
        ([], "domain_names is empty. Name each domain once."),
    ],
)
def test_wrong_names(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_domains(names=names)


def test_a_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- {name: Medical advice, definition: 'dosing,\\n and so on', group: health}\n- {name: gambling}\n")
    assert load_domains(str(path)) == [
        Domain("Medical advice", "dosing,\\n and so on", "health"),
        Domain("gambling", "gambling", "gambling"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\n", "contains no list of domains"),
        ("[]", "contains no list of domains"),
        ("- theft\n", "entry 1 is not a domain"),
        ("- {name: theft}\n- {nam: x}\n", "entry 2 is not a domain"),
        ("- {name: theft, definition: 3}\n", "entry 1 is not a domain"),
        ("- {name: '!'}\n", "entry 1 is not a domain"),
        ("- {name: a b}\n- {name: A-B}\n", "two domains have the slug 'a-b'"),
        ("- {name: a}\n- {name: a}\n", "two domains have the name 'a'"),
        ("- [", "cannot be read: "),
    ],
)
def test_wrong_files(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match=re.escape(f"{path}: {message}")):
        load_domains(str(path))


def test_a_missing_file() -> None:
    with pytest.raises(DataError, match=r"no/such.yaml: no such file"):
        load_domains("no/such.yaml")
