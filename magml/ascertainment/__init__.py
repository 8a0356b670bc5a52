"""Who gets tested: figures for everybody who could have been, from those who were."""

from magml.ascertainment.correct import ESTIMATES, Correction, correct
from magml.ascertainment.training import training_weights
from magml.ascertainment.weights import Diagnostics, balance, inverse_weights
from magml.ascertainment.words import describe

__all__ = [
    "ESTIMATES",
    "Correction",
    "Diagnostics",
    "balance",
    "correct",
    "describe",
    "inverse_weights",
    "training_weights",
]
