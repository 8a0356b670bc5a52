"""From the long results of the queries to a dense block of features.

The queries aggregate each bin once; a window is the bins from the newest up to its own, and
their aggregates merge exactly: counts and sums add, extremes compare, the second moments follow
Chan, Golub and LeVeque (Am Stat 1983;37:242-7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from magml.clock import MICROSECONDS_PER_HOUR
from magml.features.plan import MICROSECONDS, STATIC, ZERO_WHEN_ABSENT, Plan

_PER_DAY = 24 * MICROSECONDS_PER_HOUR
_PER_YEAR = 365.25 * _PER_DAY
#: Columns of a long result by name.
Long = Mapping[str, NDArray]


@dataclass(frozen=True)
class Layout:
    """Where the statistics of a plan go in a block, worked out once for a plan.

    A block has the plan's columns, then those that only derived features need. `others` are those
    of the plan that no statistic fills: derived ones, and a plug-in's.
    `columns[statistic][place, concept]` is a column of the block, or -1; `static[concept]` is
    the bin of its static rows, and the place of its whole history; `owners[drug]` is the concept
    whose doses a drug adds to, by its position among the drugs.
    """

    names: tuple[str, ...]
    others: tuple[int, ...]
    defaults: NDArray[np.float64]
    columns: Mapping[str, NDArray[np.int32]]
    static: NDArray[np.int32]
    bins: int
    owners: NDArray[np.int32]
    first_dose: int


@lru_cache(maxsize=8)
def layout(plan: Plan) -> Layout:
    """Return the layout of a plan's features."""
    own = [len(concept.windows) + 2 for concept in plan.concepts]
    bins = max(*own, len(plan.exposure_windows) + 1, 2) if own else 2
    names = {name: k for k, name in enumerate(plan.features)}
    defaults: dict[str, float] = {}
    columns: dict[str, NDArray[np.int32]] = {}
    for concept_id, concept in enumerate(plan.concepts):
        for name, statistic, window in concept.columns:
            if statistic not in columns:
                columns[statistic] = np.full((bins, len(plan.concepts)), -1, dtype=np.int32)
            whole = window == len(concept.windows)
            if concept.exposure:
                length = None if whole else concept.windows[window]
                place = bins - 1 if length is None else plan.exposure_windows.index(length)
            else:
                # The whole history also takes in the static rows, in the bin after it.
                place = window + 1 if whole else window
            columns[statistic][place, concept_id] = names.setdefault(name, len(names))
            defaults[name] = 0.0 if statistic in ZERO_WHEN_ABSENT else np.nan
    static = np.array([len(c.windows) + 1 for c in plan.concepts], dtype=np.int32)
    owners = [plan.ids[str(c.doses_of)] for c in plan.concepts[plan.first_dose :]]
    return Layout(
        tuple(names),
        tuple(k for k, name in enumerate(plan.features) if name not in defaults),
        np.array([defaults.get(name, np.nan) for name in names]),
        columns,
        static,
        bins,
        np.array(owners, dtype=np.int32),
        plan.first_dose,
    )


def new_block(where: Layout, rows: int) -> NDArray[np.float64]:
    """Return a block of `rows` rows for which nothing is recorded, float64 [features, rows]."""
    block = np.empty((len(where.defaults), rows))
    block[:] = where.defaults[:, None]
    return block


def fill_points(
    block: NDArray[np.float64], where: Layout, long: Long, t_us: NDArray[np.int64]
) -> None:
    """Write the statistics of measurements, conditions and birth into a block.

    Parameters
    ----------
    block
        float64 [features, rows], changed in place.
    long
        Columns of the query ``points``, with ``row_id`` as a position in the block.
    t_us
        Prediction times of the block's rows in microseconds, int64 [rows].
    """
    if len(long["row_id"]) == 0:
        return
    rows, concepts, cell = _pairs(long, block.shape[1])
    bins = long["bin"]
    size = (where.bins, len(rows))
    n = np.zeros(size)
    n[bins, cell] = long["n"]
    seen = np.cumsum(n, axis=0)

    def spread(name: str, empty: float) -> NDArray[np.float64]:
        dense = np.full(size, empty)
        dense[bins, cell] = long[name]
        return dense

    def write(statistic: str, values: NDArray[np.float64]) -> None:
        _write(block, where.columns[statistic], rows, concepts, values)

    wanted = where.columns
    missing = seen == 0
    if "count" in wanted:
        write("count", seen)
    if "present" in wanted:
        write("present", (seen > 0).astype(np.float64))
    if "min" in wanted:
        write("min", _nan(np.minimum.accumulate(spread("least", np.inf), axis=0), missing))
    if "max" in wanted:
        write("max", _nan(np.maximum.accumulate(spread("most", -np.inf), axis=0), missing))
    if "last" in wanted:
        write("last", _newest(spread("last", np.nan)))
    if "first" in wanted:
        write("first", _oldest(spread("first", np.nan), n > 0))
    if wanted.keys() & {"sum", "mean"}:
        total = np.cumsum(spread("total", 0.0), axis=0)
        if "sum" in wanted:
            write("sum", _nan(total, missing))
        if "mean" in wanted:
            write("mean", _divide(total, seen))
    if "sd" in wanted:
        mean = _divide(spread("total", 0.0), n)
        second = _merged(n, mean, mean, n * spread("variance", 0.0))
        write("sd", np.sqrt(_divide(second, seen - 1)))
    if "slope" in wanted:
        dated = n.copy()
        dated[where.static[concepts], np.arange(len(rows))] = 0
        offset, mean = spread("offset", np.nan), _divide(spread("total", 0.0), n)
        across = _merged(dated, offset, mean, dated * spread("covariance", 0.0))
        along = _merged(dated, offset, offset, dated * spread("offset_variance", 0.0))
        several = np.cumsum(dated, axis=0) >= 2
        write("slope", _nan(_divide(across, along) * _PER_DAY, ~several))
    if wanted.keys() & {"hours_since", "days_since", "years"}:
        newest = np.full(size, STATIC, dtype=np.int64)
        newest[bins, cell] = long["newest_us"]
        newest = np.maximum.accumulate(newest, axis=0)
        since = _nan((t_us[rows] - newest).astype(np.float64), newest == STATIC)
        for statistic, unit in (
            ("hours_since", MICROSECONDS_PER_HOUR),
            ("days_since", _PER_DAY),
            ("years", _PER_YEAR),
        ):
            if statistic in wanted:
                write(statistic, since / unit)


def fill_exposures(
    block: NDArray[np.float64],
    where: Layout,
    long: Long,
    t_us: NDArray[np.int64],
    windows: tuple[int, ...],
) -> None:
    """Write the statistics of exposures into a block, as `fill_points`.

    Doses of whoever is exposed are missing until `fill_doses` writes those that are recorded.
    """
    if len(long["row_id"]) == 0:
        return
    rows, concepts = long["row_id"], long["concept_id"]
    t = t_us[rows]
    active = long["active"] > 0
    started = (t - long["start_us"]) / MICROSECONDS_PER_HOUR
    stopped = _nan((t - long["stop_us"]) / MICROSECONDS_PER_HOUR, active)
    for statistic, values in (
        ("active", active.astype(np.float64)),
        ("hours_since_start", started),
        ("hours_since_stop", stopped),
        ("daily_dose", np.where(active, np.nan, 0.0)),
    ):
        if statistic in where.columns:
            table = where.columns[statistic][-1:]
            _write(block, table, rows, concepts, values[None])

    def spread(name: str) -> NDArray[np.float64]:
        dense = np.zeros((where.bins, len(rows)))
        for k in range(len(windows)):
            dense[k] = long[f"{name}_{k}"]
        dense[-1] = long[name]
        return dense

    if where.columns.keys() & {"days", "share"}:
        covered = spread("covered_us")
        if "days" in where.columns:
            _write(block, where.columns["days"], rows, concepts, covered / _PER_DAY)
        if "share" in where.columns:
            length = _lengths(windows, where.bins)
            _write(block, where.columns["share"], rows, concepts, covered / length[:, None])
    for statistic, name in (("count", "begun"), ("eras", "eras")):
        if statistic in where.columns and name in long:
            _write(block, where.columns[statistic], rows, concepts, spread(name))
    if "dose" in where.columns:
        unknown = np.where(_touched(long["stop_us"], t, windows, where.bins), np.nan, 0.0)
        _write(block, where.columns["dose"], rows, concepts, unknown)


def fill_doses(
    block: NDArray[np.float64],
    where: Layout,
    long: Long,
    t_us: NDArray[np.int64],
    windows: tuple[int, ...],
) -> None:
    """Write the doses that are recorded into a block, over what `fill_exposures` wrote."""
    if len(long["row_id"]) == 0:
        return
    owners = where.owners[long["concept_id"] - where.first_dose]
    pairs, place = np.unique(
        owners.astype(np.int64) * block.shape[1] + long["row_id"], return_inverse=True
    )
    rows, concepts = pairs % block.shape[1], pairs // block.shape[1]

    def added(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(place, values, len(pairs)).astype(np.float64)

    if "daily_dose" in where.columns:
        daily, some = added(long["daily"]), added(long["running"]) > 0
        table = where.columns["daily_dose"][-1:]
        _write(block, table, rows[some], concepts[some], daily[some][None])
    if "dose" not in where.columns:
        return
    touched = _touched(long["stop_us"], t_us[long["row_id"]], windows, where.bins)
    for k, name in [*((k, f"amount_{k}") for k in range(len(windows))), (-1, "amount")]:
        some = added(touched[k].astype(np.float64)) > 0
        table = where.columns["dose"][k][None]
        _write(block, table, rows[some], concepts[some], added(long[name])[some][None])


def _lengths(windows: tuple[int, ...], bins: int) -> NDArray[np.float64]:
    """Return the lengths of windows in microseconds by place; the whole history has none."""
    lengths = np.full(bins, np.nan)
    lengths[: len(windows)] = np.array(windows, dtype=np.float64) * MICROSECONDS
    return lengths


def _touched(
    stop_us: NDArray[np.int64], t: NDArray[np.int64], windows: tuple[int, ...], bins: int
) -> NDArray[np.bool_]:
    """Return by place whether what stopped then reaches into the window."""
    touched = np.ones((bins, len(t)), dtype=bool)
    for k, window in enumerate(windows):
        touched[k] = t - stop_us <= window * MICROSECONDS
    return touched


def _pairs(long: Long, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and concepts of all pairs that occur, and each line's pair."""
    key = long["concept_id"].astype(np.int64) * rows + long["row_id"]
    if len(key) < 4096:
        pairs, cell = np.unique(key, return_inverse=True)
    else:
        # A table of all possible pairs is quicker than sorting those that occur.
        present = np.zeros(int(key.max()) + 1, dtype=bool)
        present[key] = True
        pairs = np.flatnonzero(present)
        cell = (np.cumsum(present) - 1)[key]
    return pairs % rows, pairs // rows, cell


def _write(
    block: NDArray[np.float64],
    table: NDArray[np.int32],
    rows: NDArray[np.int64],
    concepts: NDArray,
    values: NDArray[np.float64],
) -> None:
    """Write values [places, pairs] where the table has a column for them."""
    # One position instead of two is three times as fast.
    cells = block.reshape(-1)
    for place, own in zip(table, values, strict=True):
        if (place < 0).all():
            continue
        cell = (place.astype(np.int64) * block.shape[1])[concepts] + rows
        if (place < 0).any():
            chosen = np.flatnonzero(cell >= 0)
            cell, own = cell[chosen], own[chosen]
        cells[cell] = own


def _nan(values: NDArray[np.float64], missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(missing, np.nan, values)


def _divide(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return a quotient that is NaN where the denominator is not positive."""
    return np.divide(
        numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0
    )


def _newest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Carry the value of the newest bin that has one to every older bin."""
    result = values.copy()
    for k in range(1, len(values)):
        result[k] = np.where(np.isnan(result[k - 1]), values[k], result[k - 1])
    return result


def _oldest(values: NDArray[np.float64], some: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Take the value of the oldest bin so far that has one."""
    result = values.copy()
    for k in range(1, len(values)):
        result[k] = np.where(some[k], values[k], result[k - 1])
    return result


def _merged(
    n: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    second: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Merge sums of products about the mean from the newest bin outwards.

    `x` and `y` are the bins' means, NaN where a bin is empty; `second` its sum of products.
    """
    result = second.copy()
    count, mean_x, mean_y = n[0].copy(), _zero(x[0]), _zero(y[0])
    for k in range(1, len(n)):
        more = n[k]
        both = count + more
        share = np.divide(more, both, out=np.zeros_like(both), where=both > 0)
        delta_x, delta_y = _zero(x[k]) - mean_x, _zero(y[k]) - mean_y
        result[k] = result[k - 1] + second[k] + delta_x * delta_y * count * share
        mean_x, mean_y = mean_x + delta_x * share, mean_y + delta_y * share
        count = both
    return result


def _zero(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(values), 0.0, values)
