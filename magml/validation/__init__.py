"""A model at another hospital: validated without refitting, recalibrated, pooled over sites."""

from __future__ import annotations

from magml.validation.aggregate import export_aggregate
from magml.validation.pool import Pooled, pool, random_effects
from magml.validation.recalibrate import Recalibration, recalibrate
from magml.validation.validate import Validation, validate

__all__ = [
    "Pooled",
    "Recalibration",
    "Validation",
    "export_aggregate",
    "pool",
    "random_effects",
    "recalibrate",
    "validate",
]
