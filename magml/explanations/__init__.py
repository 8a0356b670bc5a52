"""Explanations: exact, additive reasons for each risk, summed by concept and domain, and drawn."""

from magml.explanations.baseline import Baseline
from magml.explanations.explain import Explanation, explain

__all__ = ["Baseline", "Explanation", "explain"]
