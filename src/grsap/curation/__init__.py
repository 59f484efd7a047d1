"""Curation: filters that make a replay set of raw rows, one per file, and the pipeline that runs them."""

from grsap.curation.base import Filter, RowFilter
from grsap.curation.behaviour import Behaviour
from grsap.curation.benchmark_overlap import BenchmarkOverlap
from grsap.curation.completeness import Completeness
from grsap.curation.curation import Curation
from grsap.curation.decision import Decision, RevisedResponse, keep, query_of, reject, response_of
from grsap.curation.domain_relevance import DomainRelevance
from grsap.curation.harmlessness import Harmlessness
from grsap.curation.near_duplicates import NearDuplicates, find_near_duplicates
from grsap.curation.perplexity import Perplexity
from grsap.curation.revision import Revision
from grsap.curation.semantic_deduplication import SemanticDeduplication

__all__ = [
    "Behaviour",
    "BenchmarkOverlap",
    "Completeness",
    "Curation",
    "Decision",
    "DomainRelevance",
    "Filter",
    "Harmlessness",
    "NearDuplicates",
    "Perplexity",
    "RevisedResponse",
    "Revision",
    "RowFilter",
    "SemanticDeduplication",
    "find_near_duplicates",
    "keep",
    "query_of",
    "reject",
    "response_of",
]
