"""Performance in subgroups of the same rows; none is shown of fewer than ten cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.errors import InputError
from magml.evaluation.bootstrap import Bootstrap, percentile_interval
from magml.evaluation.calibration import prepare_calibration
from magml.evaluation.checks import (
    SMALL_CELL,
    check_groups,
    check_labels,
    check_risks,
    check_weights,
)
from magml.evaluation.discrimination import rank, tally
from magml.evaluation.overall import log_loss_terms, weighted_mean

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

#: What is measured in a subgroup, by the names of `magml.evaluation.METRICS`.
SUBGROUP_METRICS: tuple[str, ...] = (
    "auroc",
    "log_loss",
    "calibration_intercept",
    "calibration_slope",
    "observed_expected",
)
_COLUMNS = (
    "dimension", "subgroup", "model", "metric", "value", "low", "high", "n", "events", "groups",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Subgroups:
    """Figures of subgroups.

    Attributes
    ----------
    table : pandas.DataFrame
        `dimension`, `subgroup`, `model`, `metric`, `value`, `low`, `high`, `n`, `events`,
        `groups` (what was resampled).
    suppressed : dict of str to int
        By dimension, how many subgroups have fewer than ten cases or fewer than ten others.
    """

    table: pd.DataFrame
    suppressed: dict[str, int]


def measure_subgroups(
    labels: ArrayLike,
    risks: Mapping[str, ArrayLike],
    dimensions: Mapping[str, Sequence[Any] | NDArray[Any]],
    *,
    groups: ArrayLike,
    persons: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Subgroups:
    """Measure models in subgroups, with intervals from resampling within each.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Outcomes, 0 or 1.
    risks : mapping of str to array_like, shape (n,)
        Predicted risks by the name of the model.
    dimensions : mapping of str to array_like, shape (n,)
        By dimension (``sex``), each row's subgroup; None leaves a row out.
    groups : array_like, shape (n,)
        What is resampled.
    persons : array_like, shape (n,), optional
        Resampled instead in a subgroup that holds one group only, such as a site.
    weights : array_like, shape (n,), optional
        Row weights.
    replicates, seed, level
        As for :func:`magml.evaluation.evaluate`.

    Returns
    -------
    Subgroups

    Raises
    ------
    InputError
        If the input is incomplete or not of one length.

    References
    ----------
    Collins GS et al. BMJ 2024;385:e078378 (TRIPOD+AI, items on fairness).

    Examples
    --------
    >>> y, risk = [0, 1] * 20, [0.2, 0.8] * 20
    >>> found = measure_subgroups(
    ...     y, {"m": risk}, {"sex": ["female"] * 30 + ["male"] * 10}, groups=range(40),
    ...     replicates=20,
    ... )
    >>> found.table[["subgroup", "metric", "value", "n"]].head(1).values.tolist(), found.suppressed
    ([['female', 'auroc', 1.0, 30]], {'sex': 1})
    """
    import pandas as pd

    events = check_labels(labels)
    checked = check_risks(risks, events.size)
    used = check_weights(weights, events)
    resampled = np.asarray(groups)
    people = resampled if persons is None else np.asarray(persons)
    rows: list[dict[str, Any]] = []
    suppressed: dict[str, int] = {}
    for dimension, values in dimensions.items():
        of_row = np.asarray(values, dtype=object)
        if of_row.shape != (events.size,) or resampled.shape != of_row.shape:
            raise InputError(
                f"{of_row.size} subgroups and {resampled.size} groups for {events.size} labels",
                "one for each label",
            )
        suppressed[dimension] = 0
        for name in sorted({value for value in of_row if value is not None}):
            inside = of_row == name
            cases = int(events[inside].sum())
            if min(cases, int(inside.sum()) - cases) < SMALL_CELL:
                suppressed[dimension] += 1
                continue
            unit = resampled[inside]
            if len(np.unique(unit)) < 2:
                unit = people[inside]
            codes = check_groups(unit, int(inside.sum()))
            counts = {"n": int(inside.sum()), "events": cases, "groups": int(codes.max()) + 1}
            draws = Bootstrap(codes, events[inside], used[inside], replicates=replicates, seed=seed)
            rows += [
                {"dimension": dimension, "subgroup": str(name), **row, **counts}
                for row in _measure(
                    events[inside],
                    {model: risk[inside] for model, risk in checked.items()},
                    used[inside],
                    draws,
                    level,
                )
            ]
    return Subgroups(pd.DataFrame(rows, columns=list(_COLUMNS)), suppressed)


def _measure(
    events: NDArray[np.bool_],
    risks: Mapping[str, Floats],
    weights: Floats,
    draws: Bootstrap,
    level: float,
) -> list[dict[str, Any]]:
    """Return one row a model and metric with its interval."""
    measurers = {model: _Measurer(events, risk, weights) for model, risk in risks.items()}
    blocks: dict[str, list[dict[str, Floats]]] = {model: [] for model in risks}
    for block in draws:
        for model, measurer in measurers.items():
            blocks[model].append(measurer(block))
    rows = []
    for model, measurer in measurers.items():
        point = measurer(weights[None, :])
        for metric in SUBGROUP_METRICS:
            value = float(point[metric][0])
            low, high = percentile_interval(
                np.concatenate([block[metric] for block in blocks[model]]), level
            )
            if np.isnan(value):
                low = high = np.full((), np.nan)
            rows.append(
                {"model": model, "metric": metric, "value": value}
                | {"low": float(low), "high": float(high)}
            )
    return rows


class _Measurer:
    """One model in one subgroup, laid out once to be measured under any weights."""

    def __init__(self, events: NDArray[np.bool_], risks: Floats, weights: Floats) -> None:
        self._outcome, self._risks = events.astype(np.float64), risks
        self._ranking = rank(events, risks)
        self._calibration = prepare_calibration(events, risks, weights)
        self._loss = log_loss_terms(events, risks)

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        expected = weighted_mean(self._risks, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(expected > 0, weighted_mean(self._outcome, weights) / expected, np.nan)
        return {
            "auroc": tally(self._ranking, weights).auroc(),
            "log_loss": weighted_mean(self._loss, weights),
            "calibration_intercept": self._calibration.intercept(weights),
            "calibration_slope": self._calibration.slope(weights),
            "observed_expected": ratio,
        }
