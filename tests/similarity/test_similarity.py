"""The stage: its comparisons, their rows and results, and a second call."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.similarity.conftest import NOUNS, Died, Letters, Write, make_records, result_of

from grsap.cli import main
from grsap.errors import ConfigError, DataError
from grsap.generation import TransformersGenerator
from grsap.models import BaseModel
from grsap.similarity import Similarity
from grsap.similarity.measures import Measure, differences
from grsap.similarity.running import run_similarity

TEXT = ("mauve_c5", "mauve_c2", "classifier_accuracy", "precision", "density", "recall", "coverage")


def by_key(result: dict[str, Any]) -> dict[tuple[str, str, str, str | None], dict[str, Any]]:
    found = {(m["measure"], m["view"], m["population"], m["against"]): m for m in result["measures"]}
    assert len(found) == len(result["measures"])
    return found


def run(folder: Path, **settings: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    settings.setdefault("embedder", Letters())
    settings.setdefault("num_seeds", 2)
    stage = Similarity(**settings)
    stage.check()
    run_similarity(stage, folder)
    return result_of(folder)


def test_raw_and_curated_against_a_reference(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Curated rows come from the reference's distribution, raw ones have two of its nouns and refuse all."""
    raw = [replace(row, behaviour=None) for row in make_records(90, 2, NOUNS[:2], "raw")]
    for row in raw:
        row.messages[1]["content"] = "I cannot help with that ."
    result = run(
        tmp_path / "out",
        raw=write("raw.jsonl", raw),
        curated=write("curated.jsonl", make_records(60, 3, name="curated")),
        reference=write("reference.jsonl", make_records(200, 4, name="reference")),
    )
    assert (result["schema"], result["num_rows_compared"], result["model"]) == ("grsap.similarity/1", 60, None)
    found = by_key(result)
    pairs = [("raw", "reference"), ("curated", "reference"), ("reference", "itself")]
    expected = {(name, view, *pair) for name in TEXT for view in ("query", "response") for pair in pairs}
    expected |= {("query_kl_nats", "query", *pair) for pair in pairs}
    expected |= {("domain_js_bits", "labels", name, "reference") for name in ("raw", "curated")}
    assert set(found) == expected | {("behaviour_js_bits", "labels", "curated", "reference")}

    def value(name: str, population: str, view: str = "query", against: str = "reference") -> float:
        number: float = found[name, view, population, against]["value"]
        return number

    assert value("mauve_c5", "raw") + 0.2 < value("mauve_c5", "curated")
    assert value("coverage", "raw", "response") + 0.3 < value("coverage", "curated", "response")
    assert value("domain_js_bits", "raw", "labels") > 0.4 > 0.1 > value("domain_js_bits", "curated", "labels")
    assert value("classifier_accuracy", "raw", "response") > 0.7
    assert value("mauve_c5", "reference", against="itself") > 0.8
    for measure in result["measures"]:
        if measure["measure"] == "density":  # of 60 to 90 rows it has no interval
            assert (measure["low"], measure["high"]) == (None, None)
        else:
            assert measure["low"] <= measure["value"] <= measure["high"]
    beyond = {(each["measure"], each["view"]) for each in result["differences"] if each["is_beyond"]}
    assert {("mauve_c5", "response"), ("coverage", "response"), ("domain_js_bits", "labels")} <= beyond
    assert ("behaviour_js_bits", "labels") not in {(each["measure"], each["view"]) for each in result["differences"]}
    limits = " ".join(result["cannot_know"])
    assert "How the behaviours of raw differ: 90 of 90 rows of raw are unlabelled" in limits
    assert "The likelihood of the responses under the model: there is no model" in limits
    printed = capsys.readouterr().out
    assert "raw and curated differ beyond the interval in: " in printed
    for name in ("mauve_c5", "classifier_accuracy", "domain_js_bits"):
        assert f" {name} " in printed  # names and numbers are whole in 80 columns
    assert f"{value('mauve_c5', 'curated'):.3f}" in printed
    # No text of rows in what is printed or kept.
    kept = printed + "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert not [row for row in raw if row.messages[0]["content"] in kept]
    assert "cannot help" not in kept


def test_without_a_reference(write: Write, tmp_path: Path) -> None:
    result = run(tmp_path / "out", curated=write("curated.jsonl", make_records(81, 3)))
    assert result["num_rows_compared"] == 40
    found = by_key(result)
    assert {key[2:] for key in found} == {("curated", "itself")}
    assert {key[0] for key in found if key[1] == "query"} == {*TEXT, "query_kl_nats"}
    assert found["classifier_accuracy", "query", "curated", "itself"]["expected_if_same"] == 0.5
    assert 1 < result["populations"]["curated"]["effective_num_domains"] <= len(NOUNS)
    assert "there is no reference" in " ".join(result["cannot_know"])
    assert "differences" in result
    assert result["differences"] == []


def test_the_whole_exchange_is_a_view_of_its_own(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All turns of a row are one text with roles; another choice of views is computed, and not read from the folder."""
    rows = make_records(60, 3)
    embedder = Letters()
    settings = {"curated": write("curated.jsonl", rows), "embedder": embedder}
    found = by_key(run(tmp_path / "out", **settings, views=["query", "exchange"]))
    assert {key[1] for key in found} == {"query", "exchange"}
    assert {key[0] for key in found if key[1] == "exchange"} == set(TEXT)
    question, answer = (message["content"] for message in rows[0].messages)
    assert f"USER: {question}\nASSISTANT: {answer}" in embedder.asked
    assert answer not in embedder.asked
    assert "Exchanges" in capsys.readouterr().out
    again = run(tmp_path / "out", **settings)
    assert {measure["view"] for measure in again["measures"]} == {"query", "response"}


def test_the_papers_features_with_a_tiny_model(
    write: Write, tmp_path: Path, tiny_base_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`configs/similarity/paper.yaml`, with a small causal model in the place of GPT-2 large."""
    words = ["similarity", "--config", "embedded:configs/similarity/paper.yaml", "--embedder.init_args.device", "cpu"]
    words += ["--embedder.init_args.path", str(tiny_base_path), "--num_seeds", "2"]
    sets = {"raw": make_records(30, 2, NOUNS[:2], "raw"), "reference": make_records(80, 4, name="reference")}
    for name, rows in sets.items():
        words += [f"--{name}", write(f"{name}.jsonl", rows)]
    assert main([*words, "--output_dir", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    result = result_of(tmp_path / "out")
    assert (result["embedder"]["embedder"], result["embedder"]["model"]) == ("LastTokenEmbedder", str(tiny_base_path))
    assert result["num_rows_compared"] == 30
    found = by_key(result)
    for view in ("query", "response", "exchange"):
        assert 0.167 < found["mauve_c2", view, "raw", "reference"]["value"] <= 1


@pytest.mark.parametrize("views", [[], ["query", "query"]])
def test_views_are_given_once(views: Any, write: Write) -> None:
    with pytest.raises(ConfigError, match="views is"):
        Similarity(curated=write("curated.jsonl", make_records(60, 3)), views=views).check()


@pytest.fixture
def model(tiny_base_path: Path) -> TransformersGenerator:
    base = BaseModel(str(tiny_base_path), quantization="none", compute_dtype="float32")
    return TransformersGenerator(base, device="cpu")


def test_likelihoods_of_all_sets(write: Write, tmp_path: Path, model: TransformersGenerator) -> None:
    result = run(
        tmp_path / "out",
        curated=write("curated.jsonl", make_records(25, 3)),
        reference=write("reference.jsonl", make_records(60, 4)),
        model=model,
    )
    found = by_key(result)
    bound = found["response_kl_bound_nats", "response", "model", "reference"]
    own = found["response_nll_nats", "response", "curated", None]
    for each in (bound, own):
        assert (each["low"], each["high"]) == (None, None)  # of 25 rows
        assert each["details"]["num_rows"] == 25
    per_token = found["response_kl_bound_nats_per_token", "response", "model", "reference"]["value"]
    assert per_token == pytest.approx(bound["value"] * 25 / bound["details"]["num_tokens"])
    assert 1 < per_token < 40  # a random model: about log 512 nats, and more where it is sure of something else
    assert (result["model"]["name"], bool(result["model"]["revision"])) == ("tiny-llama", True)
    limits = " ".join(result["cannot_know"])
    assert "How far the expected response KL is below its bound" in limits
    assert "there is no model" not in limits


def test_a_second_call_computes_nothing_and_a_changed_file_only_new_rows(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, reference = make_records(40, 3), write("reference.jsonl", make_records(80, 4))
    settings = {"curated": write("curated.jsonl", rows), "reference": reference}
    first = run(tmp_path / "out", **settings)
    printed = capsys.readouterr().out
    again = Letters()
    assert run(tmp_path / "out", **settings, embedder=again) == first
    assert (again.asked, capsys.readouterr().out) == ([], printed)
    (other,) = make_records(1, 9, name="other")
    write("curated.jsonl", [*rows[:-1], other])
    changed = run(tmp_path / "out", **settings, embedder=again)
    assert other.messages[0]["content"] in again.asked
    assert set(again.asked) <= {message["content"] for message in other.messages}
    assert changed["inputs_hash"] != first["inputs_hash"]


def test_killed_while_embedding_and_resumed(write: Write, tmp_path: Path) -> None:
    settings = {
        "curated": write("curated.jsonl", make_records(300, 3)),
        "reference": write("reference.jsonl", make_records(600, 4)),
    }
    whole = run(tmp_path / "whole", **settings)
    dying = Letters(dies_at=700)
    with pytest.raises(Died):
        run(tmp_path / "killed", **settings, embedder=dying)
    log = tmp_path / "killed" / "embeddings.log"
    num_done = len(log.read_text().splitlines())
    with log.open("ab") as file:
        file.write(b'{"key": "half')  # the end that kill -9 leaves
    more = Letters()
    killed = run(tmp_path / "killed", **settings, embedder=more)
    for each in (whole, killed):
        del each["seconds"], each["checksum"]
    assert killed == whole
    assert 700 - 256 <= num_done < 700  # whole batches are on disk
    assert not set(dying.asked[:num_done]) & set(more.asked)
    assert len(more.asked) == len((tmp_path / "whole" / "embeddings.log").read_text().splitlines()) - num_done
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({}, ConfigError, "neither raw nor curated is set"),
        ({"curated": "40", "max_rows": 19}, ConfigError, "max_rows is 19"),
        ({"curated": "40", "num_seeds": 0}, ConfigError, "num_seeds is 0"),
        ({"curated": "39"}, DataError, "too few rows to compare (curated 39)"),
        ({"curated": "40", "reference": "39"}, DataError, "too few rows to compare (curated 40, reference 39)"),
        ({"curated": "no"}, DataError, "curated: no such file"),
    ],
)
def test_errors_come_first(settings: dict[str, Any], error: type, told: str, write: Write) -> None:
    for key in ("curated", "reference"):
        if str(settings.get(key)).isdigit():
            settings[key] = write(f"{key}.jsonl", make_records(int(settings[key]), 0))
    with pytest.raises(error) as raised:
        Similarity(**settings, embedder=Letters()).check()
    assert told in str(raised.value)


def test_a_backend_without_likelihoods_is_refused_at_once(write: Write, model: TransformersGenerator) -> None:
    class Mute(TransformersGenerator):
        likelihoods = TransformersGenerator.__mro__[1].likelihoods

    mute = Mute(model.base, device="cpu")
    with pytest.raises(ConfigError, match="Mute gives no log-probabilities of given texts"):
        Similarity(curated=write("c.jsonl", make_records(40, 0)), model=mute, embedder=Letters()).check()


def test_differences_by_hand() -> None:
    """MOVER: 3 - 1 = 2; down sqrt(0.3^2 + 0.4^2), up sqrt(1.2^2 + 0.5^2)."""
    raw = Measure("m", "query", "raw", "reference", 1.0, 0.5, 1.4)
    curated = Measure("m", "query", "curated", "reference", 3.0, 2.7, 4.2)
    alone = Measure("n", "query", "curated", "reference", 3.0, 2.7, 4.2)
    other = Measure("m", "query", "curated", "itself", 3.0, 2.7, 4.2)
    (found,) = differences([raw, curated, alone, other])
    assert (found.measure, found.view, found.difference) == ("m", "query", 2.0)
    assert (found.low, found.high) == pytest.approx((2 - math.hypot(0.3, 0.4), 2 + math.hypot(1.2, 0.5)))
    assert found.is_beyond
    (near,) = differences([raw, replace(curated, value=1.2, low=0.9, high=1.5)])
    assert not near.is_beyond
