"""Similarity of a replay set to the data that a model was aligned on."""

from grsap.similarity.classifier import TwoSampleTest, two_sample_test
from grsap.similarity.labels import LabelDivergence, effective_number, js_bits, label_divergence
from grsap.similarity.mauve import Mauve, divergence_curve, mauve, mauve_of_histograms, smallest_mauve
from grsap.similarity.neighbours import NeighbourScores, coverage_if_same, kl_terms, neighbour_scores
from grsap.similarity.response_kl import ResponseLikelihoods, response_kl_bound
from grsap.similarity.similarity import Similarity

__all__ = [
    "LabelDivergence",
    "Mauve",
    "NeighbourScores",
    "ResponseLikelihoods",
    "Similarity",
    "TwoSampleTest",
    "coverage_if_same",
    "divergence_curve",
    "effective_number",
    "js_bits",
    "kl_terms",
    "label_divergence",
    "mauve",
    "mauve_of_histograms",
    "neighbour_scores",
    "response_kl_bound",
    "smallest_mauve",
    "two_sample_test",
]
