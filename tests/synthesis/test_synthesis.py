"""Synthesis with a generator of rules: rows, attempts, quotas, budgets, manifests, restarts."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.synthesis.conftest import (
    WITHHELD,
    Died,
    Rules,
    expected_ids,
    manifest_of,
    query_or_answer,
    rows_of,
    synthesis,
)

from grsap.errors import ConfigError, DataError
from grsap.generation import SamplingSettings
from grsap.response_logprobs import LogprobReader, tokenizer_hash
from grsap.synthesis import AssistantPrefill, Quota, SurvivalRule, load_domains
from grsap.synthesis.raw_folder import RawFolder
from grsap.synthesis.running import run_synthesis
from grsap.synthesis.slots import Slot


def test_a_row_is_a_query_and_its_answer(rules: Rules, tmp_path: Path) -> None:
    generator = rules()
    work = synthesis(generator, 3)
    work.check()
    run_synthesis(work, tmp_path)
    rows = rows_of(tmp_path)
    assert [row.id for row in rows] == expected_ids(3, "theft", "weapons")
    first = rows[0]
    seed = Slot(load_domains(names=["theft"])[0], 0).seed(0, 0, "query")
    assert [message["content"] for message in first.messages] == [
        f"How do I How is {first.id} done, way {seed % 97}?",
        f"I cannot help with {first.id} here.",
    ]
    assert (first.domain, first.behaviour, first.prompt_harmful, first.parent_id) == ("theft", None, None, None)
    assert first.origin is not None
    assert (first.origin.model, first.origin.strategy, first.origin.seed, first.origin.attempt) == (
        "rules",
        "assistant_prefill",
        0,
        0,
    )
    assert first.origin.template_hash == generator.template.hash
    assert first.finish_reason == "stop"
    assert generator.settings == [
        SamplingSettings(256, 1.0, 1.0),
        SamplingSettings(1024, 0.8, 0.95),
    ]
    assert generator.num_closed == 1


def test_files_hold_text_for_the_owner_only(rules: Rules, tmp_path: Path) -> None:
    run_synthesis(synthesis(rules(), 1, response_sampling=SamplingSettings(8, top_logprobs=2)), tmp_path)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {
        "attempts.log": 0o600,
        "shard-00000.jsonl": 0o600,
        "shard-00000.logprobs": 0o600,
        "manifest.json": 0o644,
    }


def picky(row_id: str, call: int, seed: int) -> str:
    """A refusal, a cut text, an empty one, then a query, an empty answer, a query again, and an answer."""
    return ["I cannot help with that.", " it is...", '"', 'Is None a text?" no', " ", 'Or is it?" no', "None"][call]


def test_what_a_server_withholds_is_an_attempt_with_its_reason(
    rules: Rules, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A query, an answer, and then both are given; a row whose queries are all withheld is given up."""

    def rule(row_id: str, call: int, seed: int) -> str:
        if row_id == expected_ids(2, "theft")[1]:
            return WITHHELD
        return [WITHHELD, 'Is it a text?" no', WITHHELD, 'Or is it?" no', "I cannot help."][call]

    work = synthesis(rules(rule), 2, domain_names=["theft"], elicitation=AssistantPrefill(openings=[""]))
    run_synthesis(work, tmp_path)
    noted = RawFolder(tmp_path, 9, False).attempts()
    attempts = [(each.index, each.reason, each.finish_reason, each.text) for each in noted]
    assert [each for each in attempts if each[0] == 0] == [
        (0, "withheld_query", "withheld", ""),
        (0, None, "stop", "Is it a text?"),
        (0, "withheld_response", "withheld", ""),
        (0, None, "stop", "Or is it?"),
    ]
    assert [each for each in attempts if each[0] == 1] == [(1, "withheld_query", "withheld", "")] * 8
    assert [row.messages[-1]["content"] for row in rows_of(tmp_path)] == ["I cannot help."]
    assert "unusable: withheld_query 9, withheld_response 1 (stored in attempts.log)" in capsys.readouterr().out


def test_unusable_attempts_are_stored_with_their_reason(rules: Rules, tmp_path: Path) -> None:
    work = synthesis(rules(picky), 1, domain_names=["theft"], elicitation=AssistantPrefill(openings=[""]))
    run_synthesis(work, tmp_path)
    (row,) = rows_of(tmp_path)
    assert [message["content"] for message in row.messages] == ["Or is it?", "None"]
    assert row.origin is not None
    assert row.origin.attempt == 4
    folder = RawFolder(tmp_path, 10, False)
    attempts = list(folder.attempts())
    assert [(each.attempt, each.reason) for each in attempts] == [
        (0, "refusal"),
        (1, "cut_by_length"),
        (2, "empty_text"),
        (3, None),
        (3, "empty_response"),
        (4, None),
    ]
    assert {each.id for each in attempts} == {row.id}
    total = manifest_of(tmp_path)["counts"]["total"]
    assert total["num_unusable"] == {"cut_by_length": 1, "empty_response": 1, "empty_text": 1, "refusal": 1}
    assert (total["num_asked"], total["num_usable"], total["yield"], total["num_rows"]) == (5, 2, 0.4, 1)


def test_seeds_differ_between_attempts_and_are_those_of_the_slot(rules: Rules, tmp_path: Path) -> None:
    generator = rules(picky)
    run_synthesis(
        synthesis(generator, 1, domain_names=["theft"], elicitation=AssistantPrefill(openings=[""])), tmp_path
    )
    slot = Slot(load_domains(names=["theft"])[0], 0)
    steps = [("query", 0), ("query", 1), ("query", 2), ("query", 3), ("response", 3), ("query", 4), ("response", 4)]
    assert [seed for _, seed in generator.asked] == [slot.seed(0, attempt, step) for step, attempt in steps]


def test_rows_are_given_up_after_so_many_attempts(rules: Rules, tmp_path: Path) -> None:
    def rule(row_id: str, call: int, seed: int) -> str:
        return '"' if row_id.startswith("theft-1") else query_or_answer(row_id, call, seed)

    generator = rules(rule)
    quota = Quota(num_per_domain=3, max_attempts=2)
    work = synthesis(generator, domain_names=["theft"], quota=quota, elicitation=AssistantPrefill(openings=[""]))
    run_synthesis(work, tmp_path)
    assert [row.id for row in rows_of(tmp_path)] == [expected_ids(3, "theft")[index] for index in (0, 2)]
    assert Counter(row_id for row_id, _ in generator.asked)[expected_ids(3, "theft")[1]] == 2
    assert manifest_of(tmp_path)["counts"]["num_unfilled"] == 1


def test_nothing_usable_is_an_error(rules: Rules, tmp_path: Path) -> None:
    work = synthesis(rules(lambda *_: '"'), 2, elicitation=AssistantPrefill(openings=[""]))
    with pytest.raises(DataError, match=r"32 attempts gave no row \(empty_text 32\)"):
        run_synthesis(work, tmp_path)
    assert manifest_of(tmp_path)["status"] == "complete"


def test_counterparts_name_their_parent(rules: Rules, tmp_path: Path) -> None:
    run_synthesis(synthesis(rules(), quota=Quota(num_per_domain=4, benign_share=0.5), domain_names=["theft"]), tmp_path)
    rows = rows_of(tmp_path)
    ids = expected_ids(4, "theft")
    assert {row.id: row.parent_id for row in rows if row.parent_id} == {
        Slot(load_domains(names=["theft"])[0], index, "benign").id(0): ids[index] for index in (1, 3)
    }
    assert [row.behaviour for row in rows if row.parent_id] == ["benign_answer", "benign_answer"]
    assert [row.id for row in rows if not row.parent_id] == ids
    assert set(manifest_of(tmp_path)["counts"]["domains"]["theft"]) == {"harmful", "benign"}


def test_counts_by_group_and_domain_add_up(rules: Rules, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def cuts(row_id: str, call: int, seed: int) -> str:
        return query_or_answer(row_id, call, seed) + ("..." if call and "weapons" in row_id else "")

    run_synthesis(synthesis(rules(cuts), 2, domain_names=["theft", "cybercrime", "weapons"]), tmp_path)
    manifest = manifest_of(tmp_path)
    counts = manifest["counts"]
    assert [counts["groups"][name]["num_rows"] for name in ("crime", "substances")] == [4, 2]
    assert [counts["groups"][name]["num_cut"] for name in ("crime", "substances")] == [0, 2]
    assert counts["total"]["num_rows"] == 6
    tokens = [row.scores["num_response_tokens"] for row in rows_of(tmp_path)]
    assert counts["total"]["num_response_tokens"] == sum(tokens)
    assert manifest["files"]["shard-00000.jsonl"]["num_rows"] == 6
    shown, progress = capsys.readouterr()
    assert "Queries and answers: 12 done" in progress
    assert re.search(r"crime\s+│\s+4\s+│\s+4\s+│\s+100 %\s+│\s+4\s+│\s+0", shown)
    assert re.search(r"all\s+│\s+6\s+│\s+6\s+│\s+100 %\s+│\s+6\s+│\s+2", shown)
    assert "How is" not in shown
    assert "How is" not in (tmp_path / "manifest.json").read_text()


def test_shards_hold_so_many_rows_and_the_manifest_fits_them(rules: Rules, tmp_path: Path) -> None:
    from grsap.data import ReplayDataModule

    run_synthesis(synthesis(rules(), 5, domain_names=["theft"], rows_per_shard=2), tmp_path)
    names = sorted(path.name for path in tmp_path.glob("*.jsonl"))
    assert names == ["shard-00000.jsonl", "shard-00001.jsonl", "shard-00002.jsonl"]
    assert [manifest_of(tmp_path)["files"][name]["num_rows"] for name in names] == [2, 2, 1]
    replay = ReplayDataModule(str(tmp_path / "shard-00000.jsonl"), require_manifest=True)
    replay.setup("fit")
    assert [row.id for row in replay.records] == expected_ids(2, "theft")


def test_log_probabilities_are_beside_the_rows(rules: Rules, tmp_path: Path) -> None:
    generator = rules()
    sampling = SamplingSettings(64, 0.8, 0.95, top_logprobs=3)
    run_synthesis(synthesis(generator, 2, response_sampling=sampling, rows_per_shard=3), tmp_path)
    reader = LogprobReader(tmp_path)
    tokenizer = tokenizer_hash(generator.tokenizer.get_vocab())
    rows = rows_of(tmp_path)
    assert len(reader.stored_keys()) == len(rows) == 4
    for row in rows:
        text = row.messages[-1]["content"]
        found = reader.read(row.id, text, tokenizer)
        assert found is not None
        ids = generator.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert found.token_ids.tolist() == [*ids, generator.tokenizer.eos_token_id]
        assert found.logprobs[:3].tolist() == [0.0, -0.5, -1.0]
        assert found.top_ids[0].tolist() == [ids[0], ids[0] + 1, ids[0] + 2]
        assert found.top_logprobs[0].tolist() == [-1.0, -2.0, -3.0]


def repeats(row_id: str, call: int, seed: int) -> str:
    """Every second row of a domain asks the same, but for case and punctuation."""
    if call:
        return f"I cannot help with {row_id} here."
    index = int(row_id.split("-")[1])
    if index % 2:
        return 'IS it, the same?" no'
    return f'What is number {index}?" no' if index else 'Is it the same" no'


def test_until_kept_continues_until_enough_rows_survive(rules: Rules, tmp_path: Path) -> None:
    elicitation = AssistantPrefill(openings=[""])
    quota = Quota(until_kept=4, max_tokens=100_000)
    run_synthesis(synthesis(rules(repeats), domain_names=["theft"], quota=quota, elicitation=elicitation), tmp_path)
    # Rows 0 to 3: 0 and 2 survive, 2 are missing. Rows 4, 5: 4 does. Row 6 does.
    assert [row.id for row in rows_of(tmp_path)] == expected_ids(7, "theft")
    assert manifest_of(tmp_path)["status"] == "complete"


@pytest.mark.parametrize("moment", [1, 5, 9, 11, 13])
def test_until_kept_ends_with_the_same_ids_after_a_restart(moment: int, rules: Rules, tmp_path: Path) -> None:
    work = {
        "domain_names": ["theft"],
        "quota": Quota(until_kept=4, max_tokens=100_000),
        "elicitation": AssistantPrefill(openings=[""]),
    }
    first = rules(repeats, dies_at=moment)
    with pytest.raises(Died):
        run_synthesis(synthesis(first, **work), tmp_path)
    second = rules(repeats)
    second.calls = dict(first.calls)
    run_synthesis(synthesis(second, **work), tmp_path)
    assert {row.id for row in rows_of(tmp_path)} == set(expected_ids(7, "theft"))
    assert len(first.asked) + len(second.asked) == 14


class NoRow(SurvivalRule):
    def survivors(self, rows: Any) -> list[Any]:
        return []


def test_a_budget_of_tokens_ends_it_between_waves(
    rules: Rules, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quota = Quota(until_kept=8, max_tokens=1200)
    work = synthesis(rules(), domain_names=["theft"], quota=quota, survival=NoRow())
    run_synthesis(work, tmp_path)
    manifest = manifest_of(tmp_path)
    total = manifest["counts"]["total"]
    tokens = total["num_query_tokens"] + total["num_response_tokens"]
    # Waves of 8 rows, of about 55 tokens each: after the second the budget is not spent, after the third it is.
    assert total["num_rows"] == 24
    assert 1200 <= tokens < 1500
    assert manifest["status"] == "budget_spent"
    assert "stopped because the budget is spent" in capsys.readouterr().out


def test_a_budget_of_time_ends_it_at_once(rules: Rules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from grsap.synthesis import manifest

    clock = [0.0]

    def rule(row_id: str, call: int, seed: int) -> str:
        clock[0] += 1.0
        return query_or_answer(row_id, call, seed)

    monkeypatch.setattr(manifest, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    quota = Quota(num_per_domain=4, max_seconds=6.0)
    run_synthesis(synthesis(rules(rule), domain_names=["theft"], quota=quota), tmp_path)
    assert len(rows_of(tmp_path)) == 2  # four queries and two answers
    assert manifest_of(tmp_path)["seconds"] == 6.0
    generator = rules(lambda row_id, call, seed: rule(row_id, 1, seed))
    quota = Quota(num_per_domain=4, max_seconds=7.0)  # of all calls together
    run_synthesis(synthesis(generator, domain_names=["theft"], quota=quota), tmp_path)
    assert len(generator.asked) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quota": Quota()}, "quota sets neither of num_per_domain and until_kept"),
        ({"quota": Quota(num_per_domain=1, until_kept=1)}, "quota sets both of"),
        ({"quota": Quota(until_kept=5)}, r"until_kept is set without a budget"),
        ({"quota": Quota(num_per_domain=0)}, r"num_per_domain is 0"),
        ({"quota": Quota(num_per_domain=1, benign_share=1.5)}, r"benign_share is 1\.5"),
        ({"quota": Quota(num_per_domain=1, max_seconds=-1)}, r"max_seconds is -1"),
        ({"query_sampling": SamplingSettings(8)}, r"query_sampling\.temperature is 0"),
        ({"query_sampling": SamplingSettings(8, 1.0, top_logprobs=2)}, r"query_sampling\.top_logprobs is set"),
        ({"response_sampling": SamplingSettings(0)}, "max_new_tokens is 0"),
        ({"rows_per_shard": 0}, "rows_per_shard is 0"),
        ({"domain_names": ["thft"]}, "there is no domain 'thft'"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str, rules: Rules) -> None:
    with pytest.raises(ConfigError, match=message):
        synthesis(rules(), **settings).check()
