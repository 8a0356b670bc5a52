"""Performance of several models on the same rows, every number with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.errors import InputError
from magml.evaluation.bootstrap import Bootstrap
from magml.evaluation.calibration_groups import calibration_groups
from magml.evaluation.checks import (
    TREAT_ALL,
    TREAT_NONE,
    check_groups,
    check_labels,
    check_reference,
    check_risks,
    check_thresholds,
    check_weights,
)
from magml.evaluation.measures import METRICS, Measurer, Measures
from magml.evaluation.net_benefit import DEFAULT_THRESHOLDS, net_benefit_of_all
from magml.evaluation.overall import weighted_mean
from magml.evaluation.summary import (
    calibration_table,
    differences_table,
    metrics_table,
    net_benefit_table,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Performance:
    """How well several models did on the same rows.

    Attributes
    ----------
    reference : str
        The model the others are compared with: the one under study.
    models : tuple of str
        All models, the reference first.
    n, events, groups : int
        Rows, rows with the outcome, and groups (patients or hospitals) that were resampled.
    prevalence : float
        Share with the outcome, weighted where rows were weighted.
    weighted : bool
        Whether rows were weighted. `n` and `events` are counts of rows all the same.
    replicates, redrawn, seed : int
        Bootstrap resamples, how many more were drawn again for holding one class, and the seed.
    level : float
        Coverage of every interval.
    metrics : pandas.DataFrame
        `model`, `metric` (names of `METRICS`), `value`, `low`, `high`, `n`, `events`,
        `replicates` (resamples in which the metric could be estimated; `low` and `high` are NaN
        where fewer than nine tenths are).
    differences : pandas.DataFrame
        `model`, `metric`, `difference` (the reference minus this model, paired on the same rows
        and resamples), `low`, `high`, `n`, `events`, `replicates`. Metrics with a target in place
        of a direction are left out.
    net_benefit : pandas.DataFrame
        `model` ("treat all" and "treat none" among them), `threshold`, `net_benefit` (true
        positives a person), `low`, `high`, `difference` (the reference minus this strategy),
        `difference_low`, `difference_high`, `n`, `events`.
    calibration : pandas.DataFrame
        `model`, `kind` ("curve" for points of the smooth curve, "group" for groups of similar
        risk), `predicted`, `observed`, `low`, `high`, `n`, `events` (of the group; of all rows for
        a curve). Curves have bootstrap intervals, groups Wilson's.
    """

    reference: str
    models: tuple[str, ...]
    n: int
    events: int
    groups: int
    prevalence: float
    weighted: bool
    replicates: int
    redrawn: int
    seed: int
    level: float
    metrics: pd.DataFrame
    differences: pd.DataFrame
    net_benefit: pd.DataFrame
    calibration: pd.DataFrame

    def value(self, metric: str, model: str | None = None) -> tuple[float, float, float]:
        """One metric of one model with its interval.

        Parameters
        ----------
        metric : str
            A name of `METRICS`.
        model : str, optional
            A model's name, by default the reference.

        Returns
        -------
        value, low, high : float

        Raises
        ------
        InputError
            If there is no such metric or model.
        """
        name = check_reference(self.reference if model is None else model, self.models)
        if metric not in METRICS:
            raise InputError(f"the metric {metric!r}", f"one of {', '.join(METRICS)}")
        table = self.metrics
        row = table[(table["model"] == name) & (table["metric"] == metric)].iloc[0]
        return float(row["value"]), float(row["low"]), float(row["high"])

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-safe values: tables as lists of rows, NaN as None."""
        tables = ("metrics", "differences", "net_benefit", "calibration")
        plain: dict[str, Any] = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name not in tables
        }
        plain["models"] = list(self.models)
        for name in tables:
            rows = getattr(self, name).to_dict(orient="records")
            plain[name] = [{key: _plain(cell) for key, cell in row.items()} for row in rows]
        return plain


def evaluate(
    labels: ArrayLike,
    risks: Mapping[str, ArrayLike],
    *,
    groups: ArrayLike,
    reference: str | None = None,
    thresholds: ArrayLike = DEFAULT_THRESHOLDS,
    weights: ArrayLike | None = None,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Performance:
    """Measure several models on the same rows, with bootstrap intervals and paired differences.

    One pass over the resamples serves all models, so differences are paired. The same input and
    seed give the same numbers whatever the number of threads.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Outcomes, 0 or 1.
    risks : mapping of str to array_like, shape (n,)
        Predicted risks, 0 to 1, by the name of the model, in the order of the labels.
    groups : array_like, shape (n,)
        The unit that is resampled: the patient of each row, or its hospital where hospitals were
        the groups of the split. With fewer than about twenty groups intervals are too narrow.
    reference : str, optional
        The model that the others are compared with, by default the first.
    thresholds : array_like, shape (t,)
        Decision thresholds of the net benefit, strictly between 0 and 1.
    weights : array_like, shape (n,), optional
        Row weights, such as the inverse of the probability of being measured. They are taken as
        known: the uncertainty of estimating them is not in the intervals.
    replicates : int
        Bootstrap resamples.
    seed : int
        Seed of the resamples.
    level : float
        Coverage of the percentile intervals.

    Returns
    -------
    Performance

    Raises
    ------
    InputError
        If labels, risks, groups or weights are incomplete or not of one length, labels hold one
        class, a risk is not a probability, or an argument is impossible.

    References
    ----------
    Van Calster B et al. Lancet Digit Health 2025;7(12):100916 (which measures to report).

    Examples
    --------
    >>> done = evaluate(
    ...     [0, 1, 0, 1, 0, 1],
    ...     {"model": [0.1, 0.8, 0.3, 0.6, 0.7, 0.9], "coin": [0.5] * 6},
    ...     groups=[1, 1, 2, 2, 3, 3],
    ...     replicates=50,
    ... )
    >>> done.n, done.events, done.groups
    (6, 3, 3)
    >>> round(done.value("auroc")[0], 4), done.value("auroc", "coin")[0]
    (0.8889, 0.5)
    """
    events = check_labels(labels)
    checked = check_risks(risks, events.size)
    first = next(iter(checked))
    reference = check_reference(first if reference is None else reference, list(checked))
    order = (reference, *(name for name in checked if name != reference))
    used = check_weights(weights, events)
    codes = check_groups(groups, events.size)
    cuts = check_thresholds(thresholds)
    if replicates < 2:
        raise InputError(f"{replicates} replicates", "at least 2, better 1,000")
    if not 0 < level < 1:
        raise InputError(f"the level {level}", "a coverage between 0 and 1, such as 0.95")

    measurers = {name: Measurer(events, checked[name], used, cuts) for name in order}
    draws = Bootstrap(codes, events, used, replicates=replicates, seed=seed)
    whole = used[None, :]
    outcome = events.astype(np.float64)
    points = {name: measurer.measure(whole) for name, measurer in measurers.items()}
    blocks: dict[str, list[Measures]] = {name: [] for name in order}
    shares = []
    for block in draws:
        shares.append(weighted_mean(outcome, block))
        for name, measurer in measurers.items():
            blocks[name].append(measurer.measure(block))
    resampled = {name: _join(parts) for name, parts in blocks.items()}
    prevalence = weighted_mean(outcome, whole)

    curves = {name: (points[name].net_benefit[0], resampled[name].net_benefit) for name in order}
    curves[TREAT_ALL] = (
        net_benefit_of_all(prevalence, cuts)[0],
        net_benefit_of_all(np.concatenate(shares), cuts),
    )
    curves[TREAT_NONE] = (np.zeros(cuts.size), np.zeros((replicates, cuts.size)))
    counts = {"n": events.size, "events": int(events.sum())}
    return Performance(
        reference=reference,
        models=order,
        **counts,
        groups=int(codes.max()) + 1,
        prevalence=float(prevalence[0]),
        weighted=weights is not None,
        replicates=replicates,
        redrawn=draws.redrawn,
        seed=seed,
        level=level,
        metrics=metrics_table(points, resampled, counts, level),
        differences=differences_table(points, resampled, reference, counts, level),
        net_benefit=net_benefit_table(curves, cuts, reference, counts, level),
        calibration=calibration_table(
            {name: measurers[name].predicted for name in order},
            {name: (points[name].curve[0], resampled[name].curve) for name in order},
            {name: calibration_groups(events, checked[name], used, level=level) for name in order},
            counts,
            level,
        ),
    )


def _join(parts: list[Measures]) -> Measures:
    return Measures(
        metrics={name: np.concatenate([part.metrics[name] for part in parts]) for name in METRICS},
        net_benefit=np.concatenate([part.net_benefit for part in parts]),
        curve=np.concatenate([part.curve for part in parts]),
    )


def _plain(cell: Any) -> Any:
    """A table's cell as JSON knows it."""
    value = cell.item() if isinstance(cell, np.generic) else cell
    return None if isinstance(value, float) and not np.isfinite(value) else value
