"""Outcomes: what a model predicts, derived from events after the prediction time."""

from magml.outcomes.serum import below_threshold, label_sql
from magml.outcomes.specimens import Specimens, find_specimens

__all__ = ["Specimens", "below_threshold", "find_specimens", "label_sql"]
