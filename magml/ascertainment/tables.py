"""From figures of the sample and its resamples to tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from magml.evaluation.bootstrap import percentile_interval

if TYPE_CHECKING:
    import pandas as pd

    Figures = Mapping["Key", float]

#: Estimate, model, metric, threshold, odds ratio.
Key = tuple[str, str, str, float, float]
#: Threshold of a figure that has none.
NO_THRESHOLD = 0.0


def figures_table(
    whole: Figures, parts: Sequence[Figures], counts: Mapping[str, int], level: float
) -> pd.DataFrame:
    """Return raw, weighted and doubly robust figures side by side, one row a figure."""
    import pandas as pd

    rows: dict[tuple[str, str, float], dict[str, object]] = {}
    for key, value in whole.items():
        estimate, model, metric, threshold, odds_ratio = key
        if odds_ratio != 1.0:
            continue
        row = rows.setdefault(
            (model, metric, threshold),
            {"model": model, "metric": metric, "threshold": threshold or np.nan},
        )
        low, high = interval(key, parts, level)
        row |= {estimate: value, f"{estimate}_low": low, f"{estimate}_high": high}
    return pd.DataFrame(list(rows.values())).assign(**counts)


def sensitivity_table(whole: Figures, parts: Sequence[Figures], level: float) -> pd.DataFrame:
    """Return the doubly robust figures at every odds ratio of the unrecorded."""
    import pandas as pd

    rows = []
    for key, value in whole.items():
        estimate, model, metric, threshold, odds_ratio = key
        if estimate != "robust":
            continue
        low, high = interval(key, parts, level)
        rows.append(
            {
                "model": model,
                "metric": metric,
                "threshold": threshold or np.nan,
                "odds_ratio": odds_ratio,
                "value": value,
                "low": low,
                "high": high,
            }
        )
    table = pd.DataFrame(rows)
    # Models stay in their order: the study's own first.
    order = {name: place for place, name in enumerate(dict.fromkeys(table["model"]))}
    return table.sort_values(
        ["model", "metric", "threshold", "odds_ratio"],
        key=lambda column: column.map(order) if column.name == "model" else column,
        kind="stable",
        ignore_index=True,
    )


def interval(key: Key, parts: Sequence[Figures], level: float) -> tuple[float, float]:
    """Return the percentile interval of one figure; resamples that failed count as undefined."""
    values = np.array([part.get(key, np.nan) for part in parts])
    low, high = percentile_interval(values, level)
    return float(low), float(high)
