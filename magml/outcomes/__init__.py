"""Outcomes: what a model predicts, derived from events after the prediction time."""

from magml.outcomes.composite import (
    Measured,
    StatusLabels,
    check_features,
    excluded_concepts,
    excluded_features,
    label_status,
)
from magml.outcomes.latent import LatentClasses, fit_classes
from magml.outcomes.serum import below_threshold, label_sql
from magml.outcomes.specimens import Specimens, find_specimens
from magml.outcomes.three_step import evaluate_classes, three_step

__all__ = [
    "LatentClasses",
    "Measured",
    "Specimens",
    "StatusLabels",
    "below_threshold",
    "check_features",
    "evaluate_classes",
    "excluded_concepts",
    "excluded_features",
    "find_specimens",
    "fit_classes",
    "label_sql",
    "label_status",
    "three_step",
]
