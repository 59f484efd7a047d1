"""Judges that prompt a model with token ids, and parse one greedy answer strictly."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from grsap.errors import ConfigError, DataError, TemplateError, arguments_of
from grsap.files import hash_json
from grsap.generation.base import Generation, GenerationRequest, Generator, SamplingSettings
from grsap.judging.answer_format import AnswerFormat
from grsap.judging.base import Exchange, Judge, Verdict
from grsap.records import Message
from grsap.text.prompt_form import SLOTS, PromptForm, UnusableTextError

if TYPE_CHECKING:
    import torch

REQUEST, RESPONSE = SLOTS
"""Placeholders of request and response in the text of a form."""

REQUEST_TURN: Message = {"role": "user", "content": REQUEST}
RESPONSE_TURN: Message = {"role": "assistant", "content": RESPONSE}

DEFAULT_MAX_PROMPT_TOKENS = 4096


@dataclass(frozen=True)
class Question:
    """A prompt of the judge's model about an exchange.

    Attributes:
        text: of the form, with `REQUEST` and, for questions on the response, `RESPONSE`.
        form: the text as token ids with slots.
        answer: parser of the model's answer.
    """

    text: str
    form: PromptForm
    answer: AnswerFormat

    @property
    def takes_response(self) -> bool:
        """Whether the question contains the response."""
        return RESPONSE in self.text


class GuardJudge(Judge):
    """Asks a guard or chat model through a generation backend.

    Trusted text (instruction, template) and untrusted text (request, response) are joined as token ids: untrusted text
    contains no control tokens and never changes the ids around it. If the prompt is too long, the response is truncated
    and the verdict flagged; if the request alone is too long, there is no verdict. Answers that do not match the
    model's published format are unparsed.

    Args:
        generator: backend of the model: on this machine, on a device of its own, or on a server.
        max_prompt_tokens: maximum length of a prompt, at least 1; less if the tokenizer's limit is lower.
        top_logprobs: number of log-probabilities per position, for `Verdict.scores`; null for none, as for servers
            that do not return them.

    Raises:
        ConfigError: a setting is out of range.
    """

    kind: ClassVar[str] = "guard"
    max_new_tokens: ClassVar[int] = 32
    must_stop: ClassVar[bool] = True
    """Whether answers that the length limit truncated are unparsed."""

    def __init__(
        self,
        generator: Generator,
        max_prompt_tokens: int = DEFAULT_MAX_PROMPT_TOKENS,
        top_logprobs: int | None = None,
    ) -> None:
        if max_prompt_tokens < 1:
            raise ConfigError(f"max_prompt_tokens is {max_prompt_tokens}", "Give at least 1")
        self.generator = generator
        self.max_prompt_tokens = max_prompt_tokens
        self.sampling = SamplingSettings(self.max_new_tokens, top_logprobs=top_logprobs)
        with arguments_of(self):
            self.sampling.check()
        self.name = f"{self.kind}:{generator.model_name}" if generator.model_name else self.kind
        self._questions: list[Question] = []

    @abstractmethod
    def make_questions(self) -> list[Question]:
        """Return the questions on every exchange, by `plain_question` or `chat_question`; loads no weights."""

    def questions(self, exchange: Exchange) -> list[Question]:
        """Return the questions on one exchange; by default the same for all."""
        return self._questions

    def plain_question(self, text: str, answer: AnswerFormat, tags: Sequence[str] = ()) -> Question:
        """Make a question without a chat template, after the tokenizer's beginning-of-sequence tokens."""
        return Question(text, PromptForm(self.generator.tokenizer, text, tags, with_bos=True), answer)

    def chat_question(self, messages: Sequence[Message], answer: AnswerFormat, tags: Sequence[str] = ()) -> Question:
        """Make a question in the model's chat template.

        Text filled into a turn of one slot is stripped if the template strips content.

        Raises:
            TemplateError: the template does not contain each turn once.
        """
        alone = [message["content"] for message in messages if message["content"] in SLOTS]
        padded: list[Message] = [
            {**message, "content": _pad(message["content"]) if message["content"] in alone else message["content"]}
            for message in messages
        ]
        text = self.generator.template.prompt_text(padded)
        strip = bool(alone) and not any(_pad(slot) in text for slot in alone)
        for slot in SLOTS:
            text = text.replace(_pad(slot), slot)
            if text.count(slot) != sum(message["content"].count(slot) for message in messages):
                raise TemplateError(
                    f"the chat template of {self.name} does not write each turn once",
                    "Use the judge's own tokenizer, with the chat template that its model card names",
                )
        return Question(text, PromptForm(self.generator.tokenizer, text, tags, strip), answer)

    def prepare(self) -> None:
        """Load the tokenizer and make the prompts; loads no weights.

        Raises:
            ModelError: the model cannot be found.
            TemplateError: its chat template cannot hold the exchange.
        """
        if not self._questions:
            own = self.own_revision()
            self._questions = self.make_questions()
            limit = int(self.generator.tokenizer.model_max_length) - self.max_new_tokens
            self.max_prompt_tokens = min(self.max_prompt_tokens, limit)
            prompts = hash_json([[each.text, each.answer.pattern.pattern] for each in self._questions])[:8]
            self.revision = "+".join(part for part in (self.generator.weights_revision(), prompts, own) if part)

    def identity(self) -> dict[str, Any]:
        """Return also the prompt limit and the number of log-probabilities."""
        return {**super().identity(), "max_prompt_tokens": self.max_prompt_tokens, "scores": self.sampling.top_logprobs}

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Return one verdict per exchange, in order."""
        self.prepare()
        asked = [self.questions(exchange) for exchange in exchanges]
        truncated: dict[str, bool] = {}
        reasons: dict[str, str] = {}
        requests = []
        for number, (exchange, questions) in enumerate(zip(exchanges, asked, strict=True)):
            for id_, question in _with_ids(number, questions):
                texts = [exchange.prompt, exchange.response][: 1 + question.takes_response]
                try:
                    filled = question.form.fill(texts, self.max_prompt_tokens, 1 if question.takes_response else None)
                except UnusableTextError as error:
                    reasons[id_] = error.reason
                    continue
                truncated[id_] = filled.truncated
                requests.append(GenerationRequest(id_, filled.ids))
        answers = self._ask(requests, reasons)
        return [
            _merged(
                [
                    self._verdict(question, answers.get(id_), reasons.get(id_), truncated.get(id_, False))
                    for id_, question in _with_ids(number, questions)
                ]
            )
            for number, questions in enumerate(asked)
        ]

    def _ask(self, requests: Sequence[GenerationRequest], reasons: dict[str, str]) -> dict[str, Generation]:
        """Return answers by id. A prompt that the backend rejects gets a reason; the others are answered."""
        try:
            return {answer.id: answer for answer in self.generator.generate(requests, self.sampling)}
        except DataError:
            if len(requests) == 1:
                reasons[requests[0].id] = "not_carried"
                return {}
        half = len(requests) // 2
        return self._ask(requests[:half], reasons) | self._ask(requests[half:], reasons)

    def _verdict(self, question: Question, answer: Generation | None, reason: str | None, truncated: bool) -> Verdict:
        """Parse the verdict of one question."""
        if answer is None:
            return Verdict(reason=reason)
        if answer.finish_reason == "withheld":
            return Verdict(reason="withheld", truncated=truncated)
        if self.must_stop and answer.finish_reason == "length":
            return Verdict(raw=answer.text, reason="cut_by_length", truncated=truncated)
        labels = question.answer.parse(answer.text)
        if labels is None:
            return Verdict(raw=answer.text, reason="unparsed", truncated=truncated)
        scores = question.answer.scores(answer, self.generator.tokenizer)
        return Verdict(raw=answer.text, truncated=truncated, scores=scores).with_labels(labels)

    def check_ready(self) -> None:
        """Check that the server answers."""
        self.generator.check_ready()

    def release(self, device: torch.device) -> None:
        """Free the weights if they are on `device`."""
        if self.generator.runs_on(device):
            self.close()

    def close(self) -> None:
        """Free the weights, or close the connection."""
        self.generator.close()


def _with_ids(number: int, questions: Sequence[Question]) -> list[tuple[str, Question]]:
    """Return the questions on exchange `number` with the ids of their requests."""
    return [(f"{number}/{place}", question) for place, question in enumerate(questions)]


def _pad(slot: str) -> str:
    """Return the slot between spaces, which shows whether a template strips content."""
    return f"  {slot}  "


def _merged(verdicts: Sequence[Verdict]) -> Verdict:
    """Merge verdicts on several questions, each on labels of its own."""
    first, *rest = verdicts
    for other in rest:
        first = Verdict(
            prompt_harmful=other.prompt_harmful if first.prompt_harmful is None else first.prompt_harmful,
            response_harmful=other.response_harmful if first.response_harmful is None else first.response_harmful,
            response_refusal=other.response_refusal if first.response_refusal is None else first.response_refusal,
            raw="\n\n".join(text for text in (first.raw, other.raw) if text),
            reason=first.reason or other.reason,
            truncated=first.truncated or other.truncated,
            scores={**first.scores, **other.scores},
        )
    return first
