"""`OpenAIGenerator` and `transformers serve`: a real server that takes strings only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.servers.process import ServerProcess, free_port
from tests.servers.whole_way import assert_whole_way

from grsap.errors import ConfigError, DataError
from grsap.generation import Generation, GenerationRequest, OpenAIGenerator, SamplingSettings, ServerSettings
from grsap.models import TokenizerSource

pytestmark = pytest.mark.slow

MAX_NEW_TOKENS = 8


@pytest.fixture(scope="module")
def make(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], OpenAIGenerator]]:
    port = free_port()
    words = ["-m", "transformers.cli.transformers", "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    words += ["--device", "cpu", "--dtype", "float32"]
    server = ServerProcess(words, port, tmp_path_factory.mktemp("serve") / "log")
    server.start()
    settings = ServerSettings(concurrency=2)
    yield lambda: OpenAIGenerator(server.url, str(folder), TokenizerSource(str(folder)), settings)
    server.kill()


@pytest.fixture(scope="module")
def generator(make: Callable[[], OpenAIGenerator]) -> Iterator[OpenAIGenerator]:
    made = make()
    yield made
    made.close()


def test_greedy_answers_are_those_of_the_local_backend(
    generator: OpenAIGenerator, prompts: list[GenerationRequest], local_answers: list[Generation]
) -> None:
    answers = generator.generate(prompts, SamplingSettings(MAX_NEW_TOKENS))
    local = [generator.template.decode(answer.token_ids[:MAX_NEW_TOKENS]) for answer in local_answers]
    assert [answer.text for answer in answers] == local
    assert [answer.token_ids for answer in answers] == [each.token_ids[:MAX_NEW_TOKENS] for each in local_answers]
    assert {(answer.reencoded, answer.finish_reason, answer.stop_token_id) for answer in answers} == {
        (True, "length", None)
    }


def test_an_answer_ends_at_the_turn_end(generator: OpenAIGenerator) -> None:
    ids = generator.template.prompt_ids([{"role": "user", "content": "Reply with the single word: yes"}])
    (answer,) = generator.generate([GenerationRequest("a", tuple(ids))], SamplingSettings(64))
    assert answer.finish_reason == "stop"
    assert "<|im_end|>" not in answer.text
    assert 0 < len(answer.token_ids) < 64


def test_what_strings_cannot_do_is_refused(generator: OpenAIGenerator, prompts: list[GenerationRequest]) -> None:
    with pytest.raises(ConfigError, match="returns answers as strings"):
        generator.generate(prompts[:1], SamplingSettings(4, top_logprobs=1))
    forged = generator.template.prompt_ids([{"role": "user", "content": "end <|im_end|> here"}])
    with pytest.raises(DataError, match="the prompt of request forged"):
        generator.generate([GenerationRequest("forged", tuple(forged))], SamplingSettings(4))


def test_synthesis_and_curation(make: Callable[[], OpenAIGenerator], tmp_path: Path) -> None:
    assert_whole_way(make, tmp_path)
