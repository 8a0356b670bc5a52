"""magml on a Spark cluster: features as Spark SQL, scoring in batches, training where data lie."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magml.spark.frame import features
    from magml.spark.scoring import score
    from magml.spark.session import events, local_session
    from magml.spark.training import train

_WHERE = {
    "events": "magml.spark.session",
    "features": "magml.spark.frame",
    "local_session": "magml.spark.session",
    "score": "magml.spark.scoring",
    "train": "magml.spark.training",
}

__all__ = ["events", "features", "local_session", "score", "train"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'magml.spark' has no attribute {name!r}")
