"""Comparison: what a model adds to what is known without it."""

from magml.comparison.compare import compare
from magml.comparison.result import Comparison

__all__ = ["Comparison", "compare"]
