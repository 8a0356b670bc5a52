"""The tables of an evaluation, from point estimates and their replicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.evaluation.bootstrap import percentile_interval
from magml.evaluation.calibration_groups import CalibrationGroups
from magml.evaluation.measures import METRICS, Measures

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    #: A value at each point, shape (p,), and in each resample, shape (b, p).
    Replicated = tuple[Floats, Floats]


def metrics_table(
    points: Mapping[str, Measures],
    resampled: Mapping[str, Measures],
    counts: Mapping[str, int],
    level: float,
) -> pd.DataFrame:
    """One row a model and metric, as `Performance.metrics` describes."""
    rows = [
        {"model": model, "metric": metric}
        | _estimate("value", points[model].metrics[metric], resampled[model].metrics[metric], level)
        for model in points
        for metric in METRICS
    ]
    return _table(rows, ["model", "metric", "value"], counts)


def differences_table(
    points: Mapping[str, Measures],
    resampled: Mapping[str, Measures],
    reference: str,
    counts: Mapping[str, int],
    level: float,
) -> pd.DataFrame:
    """One row a further model and directed metric, as `Performance.differences` describes."""
    directed = [name for name, metric in METRICS.items() if metric.better != "target"]
    rows = [
        {"model": model, "metric": metric}
        | _estimate(
            "difference",
            points[reference].metrics[metric] - points[model].metrics[metric],
            resampled[reference].metrics[metric] - resampled[model].metrics[metric],
            level,
        )
        for model in points
        if model != reference
        for metric in directed
    ]
    return _table(rows, ["model", "metric", "difference"], counts)


def net_benefit_table(
    curves: Mapping[str, Replicated],
    thresholds: Floats,
    reference: str,
    counts: Mapping[str, int],
    level: float,
) -> pd.DataFrame:
    """One row a strategy and threshold, as `Performance.net_benefit` describes."""
    import pandas as pd

    against, against_resampled = curves[reference]
    parts = []
    for strategy, (values, resampled) in curves.items():
        low, high = percentile_interval(resampled, level)
        lower, higher = percentile_interval(against_resampled - resampled, level)
        parts.append(
            pd.DataFrame(
                {
                    "model": strategy,
                    "threshold": thresholds,
                    "net_benefit": values,
                    "low": low,
                    "high": high,
                    "difference": against - values,
                    "difference_low": lower,
                    "difference_high": higher,
                    **counts,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def calibration_table(
    predicted: Mapping[str, Floats],
    curves: Mapping[str, Replicated],
    groups: Mapping[str, CalibrationGroups],
    counts: Mapping[str, int],
    level: float,
) -> pd.DataFrame:
    """One row a point of a curve or a group, as `Performance.calibration` describes."""
    import pandas as pd

    parts = []
    for model, (observed, resampled) in curves.items():
        low, high = percentile_interval(resampled, level)
        curve = {"predicted": predicted[model], "observed": observed, "low": low, "high": high}
        parts.append(pd.DataFrame({"model": model, "kind": "curve", **curve, **counts}))
        parts.append(pd.DataFrame({"model": model, "kind": "group", **vars(groups[model])}))
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _estimate(name: str, point: Floats, resampled: Floats, level: float) -> dict[str, float | int]:
    """One value, its interval, and in how many resamples it could be estimated."""
    low, high = percentile_interval(resampled, level)
    if np.isnan(point[0]):  # an interval around nothing would read as a result
        low = high = np.full((), np.nan)
    defined = int(np.isfinite(resampled).sum())
    return {name: float(point[0]), "low": float(low), "high": float(high), "replicates": defined}


def _table(rows: list[dict[str, Any]], first: list[str], counts: Mapping[str, int]) -> pd.DataFrame:
    """Rows as a table in the order of the contract, the same for none."""
    import pandas as pd

    columns = [*first, "low", "high", "n", "events", "replicates"]
    return pd.DataFrame([row | dict(counts) for row in rows], columns=columns)
