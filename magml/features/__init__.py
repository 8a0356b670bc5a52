"""Feature builders: a plan compiled from the catalogue, and the runs that fill a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.features.compile import compile_plan
from magml.features.plan import DIALECTS, Plan

if TYPE_CHECKING:
    import pandas as pd

    from magml.definitions.catalogue import Catalogue
    from magml.features.build import build_matrix
    from magml.features.evidence import find_evidence
    from magml.features.matrix import FeatureMatrix, MappingReport
    from magml.features.plugins import EventRow, FeaturePlugin, with_plugins

__all__ = [
    "DIALECTS",
    "EventRow",
    "FeatureMatrix",
    "FeaturePlugin",
    "MappingReport",
    "Plan",
    "build_features",
    "build_matrix",
    "compile_plan",
    "find_evidence",
    "with_plugins",
]

_WHERE = {
    "EventRow": "magml.features.plugins",
    "FeaturePlugin": "magml.features.plugins",
    "with_plugins": "magml.features.plugins",
    "FeatureMatrix": "magml.features.matrix",
    "MappingReport": "magml.features.matrix",
    "build_matrix": "magml.features.build",
    "find_evidence": "magml.features.evidence",
}


def build_features(
    events: Any,
    at: Any,
    *,
    catalogue: Catalogue | None = None,
    features: Sequence[str] | None = None,
    workspace: str | Path | None = None,
    strict: bool = True,
    memory: str | int | None = None,
) -> pd.DataFrame:
    """Return the feature table of prediction times.

    Parameters
    ----------
    events
        Events, or anything that `magml.read_events` takes; or a table on a connected engine, as
        `magml.spark.events` and `magml.postgres.events` return it.
    at
        A table or file with ``subject_id`` and ``prediction_time``, or one moment for everyone.
    catalogue
        Default: the one found by `magml.definitions.read_catalogue`.
    features
        Names of the features wanted; default all of the catalogue.
    workspace
        Folder whose ``features/`` is read when no catalogue is given.
    strict
        Whether units that cannot be converted are an error; else their values are left out.
    memory
        What the work may take beside the table, such as ``4GB``; default a quarter of the
        machine's memory. Beyond it people are read by smaller ranges, and DuckDB spills.

    Returns
    -------
    pandas.DataFrame
        ``subject_id``, ``prediction_time``, then the features (float32, NaN = missing), in the
        order of `at`.

    Raises
    ------
    InputError, UnitError, DefinitionError
        For tables, units or names that do not fit.

    Examples
    --------
    >>> import pandas as pd
    >>> events = pd.DataFrame({
    ...     "subject_id": [1, 1], "time": pd.to_datetime(["2020-01-01 08:00", "2020-01-01 20:00"]),
    ...     "code": ["LOINC//19123-9"] * 2, "numeric_value": [1.7, 0.6],
    ...     "unit": ["mg/dL", "mmol/L"]})
    >>> table = build_features(events, "2020-01-01 20:00", features=["lab.magnesium.last"])
    >>> round(float(table["lab.magnesium.last"][0]), 3)
    0.699
    """
    from magml.definitions import read_catalogue
    from magml.engines import EngineTable
    from magml.events import read_events, read_prediction_times
    from magml.features.build import build_matrix
    from magml.memory import limited

    plan = compile_plan(catalogue or read_catalogue(workspace), features)
    if isinstance(events, EngineTable):
        from magml.engines.build import build_matrix as build_on_engine

        return build_on_engine(plan, events, at, strict=strict).to_pandas()
    with limited(memory):
        found = read_events(events)
        relation = read_prediction_times(at, found.connection, found)
        return build_matrix(plan, found, relation, strict=strict).to_pandas()


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'magml.features' has no attribute {name!r}")
