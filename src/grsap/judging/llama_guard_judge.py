"""Llama Guard 3 and 4 (Inan et al. 2023, arXiv 2312.06674, and Meta's model cards)."""

from __future__ import annotations

import re

from grsap.generation.base import Generator
from grsap.judging.answer_format import AnswerFormat
from grsap.judging.base import LABELS
from grsap.judging.guard_judge import DEFAULT_MAX_PROMPT_TOKENS, REQUEST_TURN, RESPONSE_TURN, GuardJudge, Question

TAGS = (
    "<BEGIN UNSAFE CONTENT CATEGORIES>",
    "<END UNSAFE CONTENT CATEGORIES>",
    "<BEGIN CONVERSATION>",
    "<END CONVERSATION>",
    "\n\nUser:",
    "\n\nAgent:",
)
WORDS = {"safe": False, "unsafe": True}


def answer_format(label: str) -> AnswerFormat:
    """Return the format `safe`, or `unsafe` with a line of category codes, for a label."""
    codes = r"S\d{1,2}(?:, ?S\d{1,2})*"
    return AnswerFormat(re.compile(rf"(?P<{label}>safe(?!\n)|unsafe(?=\n))(?:\n{codes})?"), {label: WORDS})


class LlamaGuardJudge(GuardJudge):
    """Asks `meta-llama/Llama-Guard-3-8B`, `-1B` or `Llama-Guard-4-12B` (gated) with the template of its tokenizer.

    It does not label refusals. The template contains the policy and asks about the last turn, so the request needs a
    second question, which doubles the cost.

    Args:
        generator: see `GuardJudge`.
        judge_prompts: also judge the request; otherwise `prompt_harmful` is None.
        max_prompt_tokens: see `GuardJudge`.
        top_logprobs: see `GuardJudge`.
    """

    kind = "llama_guard"

    def __init__(
        self,
        generator: Generator,
        judge_prompts: bool = False,
        max_prompt_tokens: int = DEFAULT_MAX_PROMPT_TOKENS,
        top_logprobs: int | None = None,
    ) -> None:
        super().__init__(generator, max_prompt_tokens, top_logprobs)
        self.judge_prompts = judge_prompts
        self.labels = frozenset(LABELS) - {"response_refusal"} - (set() if judge_prompts else {"prompt_harmful"})

    def make_questions(self) -> list[Question]:
        """Make a question on the response and, with `judge_prompts`, one on the request alone."""
        questions = [self.chat_question([REQUEST_TURN, RESPONSE_TURN], answer_format("response_harmful"), TAGS)]
        if self.judge_prompts:
            questions.append(self.chat_question([REQUEST_TURN], answer_format("prompt_harmful"), TAGS))
        return questions
