"""How many people of a data set have each feature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.features.changes import shown

if TYPE_CHECKING:
    from magml.definitions.catalogue import Catalogue


@dataclass(frozen=True)
class FeaturePeople:
    """People who have each feature at one of their prediction times, at least.

    Attributes
    ----------
    source
        Name of the records.
    people
        People with a prediction time.
    having
        People by feature.
    """

    source: str
    people: int
    having: dict[str, int]

    def shown(self, feature: str) -> str:
        """Return a feature's count as it may be shown: 1 to 9 people are ``<10``."""
        return shown(self.having.get(feature, 0))


def feature_people(
    catalogue: Catalogue,
    events: Path | None,
    at: str | None,
    experiment: Path | None,
    data: Path | None,
) -> FeaturePeople:
    """Count the people who have each feature of a catalogue.

    Parameters
    ----------
    events, at
        Records and prediction times; or instead
    experiment, data
        an experiment whose source and cohort give them.
    """
    import numpy as np

    from magml.features import build_matrix, compile_plan

    records, relation = _rows(events, at, experiment, data)
    matrix = build_matrix(compile_plan(catalogue), records, relation, strict=False)
    codes, persons = np.unique(matrix.subject_id, return_inverse=True)
    having = {}
    for column, name in enumerate(matrix.names):
        values = matrix.values[:, column]
        there = values > 0 if _zero_by_default(catalogue, name) else ~np.isnan(values)
        having[name] = len(np.unique(persons[there]))
    return FeaturePeople(records.name, len(codes), having)


def _rows(
    events: Path | None, at: str | None, experiment: Path | None, data: Path | None
) -> tuple[Any, Any]:
    """Return records and a relation of prediction times."""
    if experiment is not None and data is not None and events is None and at is None:
        from magml.experiments.rows import prediction_times
        from magml.experiments.study import read_definitions

        found = read_definitions(experiment, by_labels=False)
        cohort = prediction_times(found.experiment, found.model, found.catalogue, data, strict=True)
        return cohort.events, cohort.relation
    if events is not None and at is not None and experiment is None and data is None:
        from magml.events import read_events, read_prediction_times

        records = read_events(events)
        return records, read_prediction_times(at, records.connection, records)
    raise InputError(
        "--people without records and prediction times",
        "--events with --at, or --experiment with --data",
        "add what is missing",
    )


def _zero_by_default(catalogue: Catalogue, name: str) -> bool:
    """Whether a feature is 0 where nothing was recorded: to have it is to be above 0."""
    feature = catalogue.features[name]
    if feature.derived or feature.plugin:
        return feature.statistic == "count_active"
    if "_since" in feature.statistic:
        return False
    kind = catalogue.by_name[feature.concept].kind
    return kind in ("exposure", "condition") or feature.statistic == "count"
