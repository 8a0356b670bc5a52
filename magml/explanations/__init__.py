"""Explanations: exact, additive reasons for each risk, summed by concept and domain, and drawn."""

from magml.explanations.baseline import Baseline
from magml.explanations.explain import Explanation, explain
from magml.explanations.missing import MissingTest, missing_tests
from magml.explanations.reference import Position, ReferenceCohort
from magml.explanations.what_if import WhatIf, modifiable_concepts, what_if

__all__ = [
    "Baseline",
    "Explanation",
    "MissingTest",
    "Position",
    "ReferenceCohort",
    "WhatIf",
    "explain",
    "missing_tests",
    "modifiable_concepts",
    "what_if",
]
