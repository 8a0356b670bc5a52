"""Models: bagged XGBoost, calibration, search, baselines and their cross-validation.

The names below are loaded on first use, so that importing this room costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magml.models.classifier import MagnesiumRiskClassifier
    from magml.models.mds import magnesium_depletion_score

_WHERE = {
    "MagnesiumRiskClassifier": "magml.models.classifier",
    "magnesium_depletion_score": "magml.models.mds",
}

__all__ = ["MagnesiumRiskClassifier", "magnesium_depletion_score"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'magml.models' has no attribute {name!r}")
