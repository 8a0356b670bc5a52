"""Labelled rows at another hospital, scored by a model that is not refitted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.definitions import read_experiment
from magml.errors import InputError
from magml.experiments.prepare import Rows, cohort_rows, labelled_rows, open_data

if TYPE_CHECKING:
    from magml.bundle import Model
    from magml.features import FeatureMatrix

#: Fewer cases than these and no figure is given at all; see `check_outcome`.
MINIMUM_CASES = 10


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Rows with outcome and prediction; of the cohort's rows, those that count.

    Attributes
    ----------
    rows
        Labelled prediction times.
    matrix
        The plan's features.
    kept
        Rows that are evaluated, bool, shape (all rows,); the arrays below hold these only.
    labels, persons
        Outcome (0 or 1) and person, shape (n,).
    margin, risk
        Log-odds before calibration, and the calibrated risk, shape (n,).
    """

    rows: Rows
    matrix: FeatureMatrix
    kept: NDArray[np.bool_]
    labels: NDArray[np.int8]
    persons: NDArray[Any]
    margin: NDArray[np.float64]
    risk: NDArray[np.float64]


def scored_rows(
    model: Model,
    *,
    events: Any = None,
    labels: Any = None,
    experiment: str | Path | None = None,
    data: Any = None,
    minimum_cases: int = MINIMUM_CASES,
) -> ScoredRows:
    """Return labelled rows, from events and labels or an experiment's cohort, with their scores.

    The model's own catalogue and outcome hold; of an experiment, its source and cohort.

    Parameters
    ----------
    model
        A loaded model.
    events, labels
        Events and a table of labels (``subject_id``, ``prediction_time``, ``boolean_value``).
    experiment, data
        Instead: an experiment and the folder of its source.
    minimum_cases
        The least number of rows with, and without, the outcome.

    Raises
    ------
    InputError
        If neither or both are given, or the experiment is of another model.
    CohortError
        If the rows have too few cases.
    """
    from magml.features import build_matrix

    if (experiment is None) == (labels is None) or (experiment is None) != (data is None):
        raise InputError(
            "no labelled rows to work on",
            "events with labels, or an experiment with data",
            "give --events with --labels, or --experiment with --data",
        )
    if experiment is None:
        if events is None:
            raise InputError("labels without events", "both", "give --events too")
        rows = labelled_rows(events, labels, minimum_cases)
    else:
        definition = read_experiment(experiment)
        if definition.model != model.definition.name:
            raise InputError(
                f"the experiment {definition.name} is made for the model {definition.model}",
                f"an experiment for {model.definition.name}, which this bundle holds",
                "choose the bundle or the experiment that belongs to the other",
            )
        definition = definition.model_copy(update={"minimum_cases": minimum_cases})
        rows = cohort_rows(
            definition,
            model.definition,
            model.catalogue,
            open_data(definition, data, model.catalogue),
        )
    matrix = build_matrix(model.plan, rows.events, rows.relation, strict=False)
    kept = rows.evaluated
    risks = model.score_matrix(model.columns(matrix.values)[kept])
    return ScoredRows(
        rows, matrix, kept, rows.labels[kept], rows.persons[kept], risks.margin, risks.risk
    )
