"""Text embeddings."""

from grsap.embedding.base import Embedder
from grsap.embedding.last_token_embedder import LastTokenEmbedder
from grsap.embedding.minilm_embedder import MiniLMEmbedder
from grsap.embedding.sentence_transformer_embedder import SentenceTransformerEmbedder
from grsap.embedding.static_embedder import StaticEmbedder

__all__ = ["Embedder", "LastTokenEmbedder", "MiniLMEmbedder", "SentenceTransformerEmbedder", "StaticEmbedder"]
