"""Prediction times to monitor, with their outcomes as far as they are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError

if TYPE_CHECKING:
    from magml.bundle import Model
    from magml.events import Events

_LABELS = "magml_monitored_labels"


@dataclass(frozen=True, eq=False)
class LabelledTimes:
    """Prediction times on the events' connection.

    Attributes
    ----------
    events, relation
        Records, and the relation with ``row_id``, ``subject_id`` and ``prediction_time``.
    labels
        Outcome of each row, 1.0 or 0.0; NaN where it is not known, shape (n,).
    labelled
        Whether any outcomes were given.
    """

    events: Events
    relation: str
    labels: NDArray[np.float64]
    labelled: bool


def monitored_rows(
    model: Model,
    *,
    events: Any = None,
    at: Any = None,
    labels: Any = None,
    experiment: str | Path | None = None,
    data: Any = None,
) -> LabelledTimes:
    """Return the rows that the arguments name.

    Raises
    ------
    InputError
        If they name none, or an outcome stands twice.
    """
    from magml.events import read_events, read_labels, read_prediction_times
    from magml.experiments.prepare import check_times

    if experiment is not None:
        if data is None or any(given is not None for given in (events, at, labels)):
            raise InputError(
                "an experiment needs data and nothing else",
                "--experiment FILE --data FOLDER",
                "remove --events, --at and --labels, or add --data",
            )
        return _of_experiment(model, experiment, data)
    if events is None or (at is None and labels is None):
        raise InputError(
            "nothing to monitor",
            "events with prediction times, labels or both; or an experiment with data",
            "give --events with --at or --labels, or --experiment with --data",
        )
    read = read_events(events).materialise()
    relation = read_prediction_times(at if at is not None else labels, read.connection, read)
    check_times(read, relation)
    if labels is None:
        return LabelledTimes(read, relation, _labels(read, relation, None), False)
    given = read_labels(labels, read.connection)
    return LabelledTimes(read, relation, _labels(read, relation, given), True)


def _of_experiment(model: Model, experiment: str | Path, data: Any) -> LabelledTimes:
    """Return an experiment's prediction times, measured afterwards or not."""
    from magml.cohort import build_cohort
    from magml.definitions import read_experiment
    from magml.definitions.model import SerumOutcome
    from magml.experiments.rows import experiment_rows
    from magml.outcomes import find_specimens

    cohort = experiment_rows(Path(experiment), data, model)
    events, outcome = cohort.events, model.definition.outcome
    if not isinstance(outcome, SerumOutcome):
        return LabelledTimes(events, cohort.relation, _labels(events, cohort.relation, None), False)
    specimens = find_specimens(events, model.catalogue, outcome.concept, required=False)
    labelled = build_cohort(
        events,
        read_experiment(experiment).cohort,
        specimens,
        outcome,
        catalogue=model.catalogue,
        relation=_LABELS,
    )
    found = _labels(events, cohort.relation, labelled.relation)
    return LabelledTimes(events, cohort.relation, found, True)


def _labels(events: Events, relation: str, labels: str | None) -> NDArray[np.float64]:
    """Return the outcome of each row in its order, NaN where there is none."""
    connection = events.connection
    if labels is None:
        rows = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0]
        return np.full(rows, np.nan)
    found = connection.execute(f"""
        SELECT any_value(l.boolean_value), count(l.boolean_value)
        FROM {relation} r LEFT JOIN {labels} l USING (subject_id, prediction_time)
        GROUP BY r.row_id ORDER BY r.row_id""").fetchall()
    if any(count > 1 for _, count in found):
        raise InputError(
            "an outcome that stands more than once",
            "each pair of subject_id and prediction_time once",
            "remove the repeated rows",
        )
    return np.array([np.nan if value is None else float(value) for value, _ in found])
