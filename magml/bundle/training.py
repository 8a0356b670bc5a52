"""What a bundle says of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainingSummary:
    """What a model was learned from, in numbers that hold no patient, path, clock or run id.

    Attributes
    ----------
    experiment
        The experiment's definition as plain values.
    n, events, groups
        Rows trained on, rows with the outcome, and people.
    attrition
        Steps of the cohort with their counts, as plain values.
    performance
        Tables of the outer folds (`magml.evaluation.Performance.to_dict`); empty if none were run.
    estimator
        Hyper-parameters of the final model, as plain values.
    seeds
        Seeds by what they were used for.
    versions
        Versions of the libraries that shaped the result.
    data
        Fingerprint of the input: layout, counts and hashes.
    notes
        Remarks of the run, in words.
    quick
        Whether the search of parameters was left out.
    monitoring
        What records, features and risks were like (`magml.monitoring.Baseline`), for comparison
        after go-live; empty in bundles of earlier versions.
    """

    experiment: Mapping[str, Any]
    n: int
    events: int
    groups: int
    attrition: tuple[Mapping[str, Any], ...] = ()
    performance: Mapping[str, Any] = field(default_factory=dict)
    estimator: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    quick: bool = False
    monitoring: Mapping[str, Any] = field(default_factory=dict)
