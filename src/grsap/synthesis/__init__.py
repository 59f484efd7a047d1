"""Synthesis of safety data by an aligned model: domains, elicitation of queries, responses, and the run."""

from grsap.synthesis.domains import Domain, load_domains
from grsap.synthesis.elicitation import Ask, AssistantPrefill, Elicitation, PreQueryTemplate
from grsap.synthesis.query_parsing import Query, check_query, read_quoted, read_turn
from grsap.synthesis.quota import CompleteAndDistinct, Quota, SurvivalRule
from grsap.synthesis.synthesis import Synthesis

__all__ = [
    "Ask",
    "AssistantPrefill",
    "CompleteAndDistinct",
    "Domain",
    "Elicitation",
    "PreQueryTemplate",
    "Query",
    "Quota",
    "SurvivalRule",
    "Synthesis",
    "check_query",
    "load_domains",
    "read_quoted",
    "read_turn",
]
