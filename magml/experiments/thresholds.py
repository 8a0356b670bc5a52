"""The same study at other thresholds of the outcome: refitted in the same settings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from magml.definitions.model import SerumOutcome
from magml.errors import CohortError, InputError
from magml.experiments.prepare import check_outcome
from magml.experiments.study import Study, cross_validate, measure
from magml.outcomes import label_sql
from magml.progress import Report, part, silent

if TYPE_CHECKING:
    import pandas as pd

    from magml.evaluation import Performance
    from magml.models.nested import NestedResult

#: The thresholds of serum magnesium in use, each a set of equivalents compared as reported.
THRESHOLDS: tuple[dict[str, float], ...] = (
    {"mmol/L": 0.70, "mg/dL": 1.7, "mEq/L": 1.40},
    {"mmol/L": 0.75, "mg/dL": 1.8, "mEq/L": 1.50},
    {"mmol/L": 0.85, "mg/dL": 2.1, "mEq/L": 1.70},
)


def measure_thresholds(
    study: Study,
    nested: NestedResult,
    performance: Performance,
    *,
    seed: int,
    quick: bool = False,
    threads: int | None = None,
    report: Report = silent,
) -> pd.DataFrame:
    """Repeat the cross-validation with the outcome defined by each threshold in use.

    Rows, folds and each fold's settings are those of `nested`; nothing is searched again. The
    model that is shipped stays the one of the model definition's threshold.

    Parameters
    ----------
    study, nested, performance
        The study at its own threshold, cross-validated and measured.
    seed, quick, threads, report
        As for :func:`magml.experiments.train`.

    Returns
    -------
    pandas.DataFrame
        `threshold` (in all its units), `own` (whether it is the model's), `model`, `metric`,
        `value`, `low`, `high`, `n`, `events`, `prevalence`, `reason` (why a threshold could not
        be evaluated; its figures are then missing).

    Raises
    ------
    InputError
        If labels were given, so that no threshold is known.
    """
    import pandas as pd

    outcome = study.definitions.model.outcome
    if study.rows.specimens is None or not isinstance(outcome, SerumOutcome):
        raise InputError(
            "other thresholds were asked for, but the labels were given",
            "an experiment, whose specimens can be compared with any threshold",
            "leave --thresholds out",
        )
    own = outcome.threshold
    tables = [_rows(own, performance, own=True)]
    # An institution may name fewer units than there are: one equal bound is the same threshold.
    others = [threshold for threshold in THRESHOLDS if not threshold.items() & own.items()]
    for step, threshold in enumerate(others):
        share = part(report, step / len(others), (step + 1) / len(others))
        try:
            other = relabelled(study, threshold)
            check_outcome(
                other.rows.labels[other.rows.evaluated],
                study.definitions.experiment.minimum_cases,
            )
            again = cross_validate(
                other, seed=seed, quick=quick, threads=threads, report=share, like=nested
            )
        except CohortError as error:
            tables.append(
                pd.DataFrame([{"threshold": _named(threshold), "own": False, "reason": error.seen}])
            )
            continue
        tables.append(_rows(threshold, measure(other, again, seed=seed), own=False))
    return pd.concat(tables, ignore_index=True)


def relabelled(study: Study, threshold: dict[str, float]) -> Study:
    """Return the study with the outcome below another threshold, on the same rows.

    Parameters
    ----------
    study
        A study whose specimens are known.
    threshold
        Unit to bound.
    """
    definitions, rows = study.definitions, study.rows
    own = definitions.model.outcome
    assert isinstance(own, SerumOutcome)
    assert rows.specimens is not None
    outcome = own.model_copy(update={"threshold": dict(threshold)})
    frame = rows.events.connection.execute(
        f"SELECT row_id, boolean_value FROM ({label_sql(outcome, rows.specimens, rows.relation)}) "
        "ORDER BY row_id"
    ).df()
    labels = frame["boolean_value"].to_numpy(dtype=np.int8)
    model = definitions.model.model_copy(update={"outcome": outcome})
    return replace(
        study,
        definitions=replace(definitions, model=model),
        rows=replace(rows, labels=labels),
    )


def _rows(threshold: dict[str, float], performance: Performance, *, own: bool) -> pd.DataFrame:
    """Return the metrics at one threshold."""
    table = performance.metrics.drop(columns="replicates")
    table.insert(0, "threshold", _named(threshold))
    table.insert(1, "own", own)
    return table.assign(prevalence=performance.prevalence, reason="")


def _named(threshold: dict[str, float]) -> str:
    """Return a threshold in all its units, in one order.

    Examples
    --------
    >>> _named({"mg/dL": 1.7, "mmol/L": 0.7})
    '0.7 mmol/L / 1.7 mg/dL'
    """
    return " / ".join(f"{threshold[unit]:g} {unit}" for unit in sorted(threshold, key=_place))


def _place(unit: str) -> tuple[int, str]:
    known = list(THRESHOLDS[0])
    return (known.index(unit) if unit in known else len(known), unit)
