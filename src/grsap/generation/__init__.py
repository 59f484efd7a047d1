"""Text generation and likelihood scoring with local models, vLLM and servers."""

from grsap.generation.base import (
    Generation,
    GenerationRequest,
    Generator,
    Likelihood,
    SamplingSettings,
    ScoringRequest,
    TokenLogprobs,
)
from grsap.generation.batching import batch_by_length
from grsap.generation.likelihood import LikelihoodScorer, score_in_pieces
from grsap.generation.model_generator import ModelGenerator
from grsap.generation.openai_generator import OpenAIGenerator
from grsap.generation.server_settings import ServerSettings
from grsap.generation.transformers_generator import TransformersGenerator
from grsap.generation.vllm_generator import VLLMEngine, VLLMGenerator

__all__ = [
    "Generation",
    "GenerationRequest",
    "Generator",
    "Likelihood",
    "LikelihoodScorer",
    "ModelGenerator",
    "OpenAIGenerator",
    "SamplingSettings",
    "ScoringRequest",
    "ServerSettings",
    "TokenLogprobs",
    "TransformersGenerator",
    "VLLMEngine",
    "VLLMGenerator",
    "batch_by_length",
    "score_in_pieces",
]
