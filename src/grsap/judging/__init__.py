"""Judges, which label responses as refusals and as harmful."""

from grsap.judging.agreement import Agreement, cohens_kappa, pairwise_agreement
from grsap.judging.answer_format import AnswerFormat
from grsap.judging.base import LABELS, Exchange, Judge, Verdict
from grsap.judging.guard_judge import REQUEST, RESPONSE, GuardJudge, Question
from grsap.judging.harmbench_judge import HarmBenchJudge
from grsap.judging.judge_panel import JudgePanel
from grsap.judging.llama_guard_judge import LlamaGuardJudge
from grsap.judging.qwen3guard_judge import Qwen3GuardJudge
from grsap.judging.refusal_matcher import RefusalMatcher, is_refusal
from grsap.judging.rubric_judge import RubricJudge
from grsap.judging.wildguard_judge import WildGuardJudge

__all__ = [
    "LABELS",
    "REQUEST",
    "RESPONSE",
    "Agreement",
    "AnswerFormat",
    "Exchange",
    "GuardJudge",
    "HarmBenchJudge",
    "Judge",
    "JudgePanel",
    "LlamaGuardJudge",
    "Question",
    "Qwen3GuardJudge",
    "RefusalMatcher",
    "RubricJudge",
    "Verdict",
    "WildGuardJudge",
    "cohens_kappa",
    "is_refusal",
    "pairwise_agreement",
]
