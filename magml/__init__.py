"""magml: hypomagnesemia and low body magnesium status from institutional records.

The names below are loaded on first use, so that importing magml costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magml.bundle import load
    from magml.checks import check
    from magml.comparison import compare
    from magml.errors import MagmlError
    from magml.events import Events, read_events
    from magml.experiments import train
    from magml.experiments.registry import promote, rollback
    from magml.experiments.sync import sync
    from magml.features import build_features
    from magml.models import MagnesiumRiskClassifier, magnesium_depletion_score
    from magml.monitoring import monitor
    from magml.population_study import population
    from magml.report import write_report
    from magml.review import open_review, review_summary, verify_reviews
    from magml.service import serve
    from magml.simulation.world import simulate
    from magml.sources import open_source
    from magml.validation import export_aggregate, pool, recalibrate, validate
    from magml.workspace import init

_WHERE = {
    "Events": "magml.events",
    "MagmlError": "magml.errors",
    "MagnesiumRiskClassifier": "magml.models",
    "build_features": "magml.features",
    "check": "magml.checks",
    "compare": "magml.comparison",
    "init": "magml.workspace",
    "load": "magml.bundle",
    "magnesium_depletion_score": "magml.models",
    "monitor": "magml.monitoring",
    "open_review": "magml.review",
    "open_source": "magml.sources",
    "read_events": "magml.events",
    "train": "magml.experiments",
    "export_aggregate": "magml.validation",
    "promote": "magml.experiments.registry",
    "rollback": "magml.experiments.registry",
    "serve": "magml.service",
    "sync": "magml.experiments.sync",
    "simulate": "magml.simulation.world",
    "pool": "magml.validation",
    "population": "magml.population_study",
    "recalibrate": "magml.validation",
    "validate": "magml.validation",
    "review_summary": "magml.review",
    "verify_reviews": "magml.review",
    "write_report": "magml.report",
}

#: Modules that need extras of their own.
_ENGINES = ("postgres", "spark")

__all__ = [
    "Events",
    "MagmlError",
    "MagnesiumRiskClassifier",
    "build_features",
    "check",
    "compare",
    "export_aggregate",
    "init",
    "load",
    "magnesium_depletion_score",
    "monitor",
    "open_review",
    "open_source",
    "pool",
    "population",
    "promote",
    "read_events",
    "recalibrate",
    "review_summary",
    "rollback",
    "serve",
    "simulate",
    "sync",
    "train",
    "validate",
    "verify_reviews",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    if name == "__version__":
        return _version()
    if name in _ENGINES:
        return import_module(f"magml.{name}")
    raise AttributeError(f"module 'magml' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE, *_ENGINES, "__version__"])


def _version() -> str:
    """Return the installed version; importlib.metadata is slow to import, so only on request."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("magml")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
