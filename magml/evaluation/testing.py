"""Tests needed per case found: by risk threshold and by testing capacity, beside today's orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from magml.errors import InputError
from magml.evaluation.bootstrap import Bootstrap, percentile_interval
from magml.evaluation.checks import (
    SMALL_CELL,
    check_groups,
    check_labels,
    check_risks,
    check_thresholds,
    check_weights,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

#: Shares of people that can be tested, at which a capacity is judged.
CAPACITIES: tuple[float, ...] = (0.01, 0.02, 0.05, 0.10, 0.20, 0.30, 0.50)
#: The two strategies that need no model.
AS_ORDERED = "as ordered"
RANDOM_ORDER = "random order"


def yield_of_testing(
    labels: ArrayLike,
    risks: Mapping[str, ArrayLike],
    *,
    groups: ArrayLike,
    thresholds: ArrayLike = (),
    capacities: Sequence[float] = CAPACITIES,
    weights: ArrayLike | None = None,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Count the tests that each strategy needs for one case, and the share of cases it finds.

    Everybody evaluated was tested by somebody's order (``as ordered``), which needs one over the
    prevalence. A model, or a random order, tests some of these people only: the table says what
    the same capacity finds among those whom clinicians chose to test, and nothing about people
    whom nobody tested.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Outcomes, 0 or 1.
    risks : mapping of str to array_like, shape (n,)
        Predicted risks by the name of the model.
    groups : array_like, shape (n,)
        What is resampled.
    thresholds : array_like, shape (t,)
        Risks from which one would test.
    capacities : sequence of float
        Shares of people that can be tested, those of highest risk first; people of equal risk
        at the margin are taken in random order, of which the mean is given.
    weights : array_like, shape (n,), optional
        Row weights.
    replicates, seed, level
        As for :func:`magml.evaluation.evaluate`.

    Returns
    -------
    pandas.DataFrame
        `model`, `kind` ("threshold", "capacity" or "all"), `at` (the threshold or the share),
        `tested` (share of people), `found` (share of cases) with `found_low`, `found_high`,
        `tests_per_case` with `low`, `high`, `fewer` (tests a case fewer than as ordered, paired)
        with `fewer_low`, `fewer_high`, `n`, `events`. Figures that fewer than ten people tested
        stand behind are NaN.

    Raises
    ------
    InputError
        If the input is incomplete, of one class, or a capacity is not a share.

    References
    ----------
    Vickers AJ et al. BMJ 2016;352:i6 (what a model changes for those who act on it).

    Examples
    --------
    Two of 40 have the outcome: 20 tests a case as ordered. The two highest risks hold both.

    >>> table = yield_of_testing(
    ...     [1, 1] + [0] * 38, {"m": [0.9, 0.8] + [0.1] * 38},
    ...     groups=range(40), capacities=[0.5], replicates=20,
    ... )
    >>> table[["model", "tests_per_case", "found"]].values.tolist()
    [['as ordered', 20.0, 1.0], ['random order', 20.0, 0.5], ['m', 10.0, 1.0]]
    """
    events = check_labels(labels)
    checked = check_risks(risks, events.size)
    clash = {AS_ORDERED, RANDOM_ORDER} & set(checked)
    if clash:
        raise InputError(f"a model named {clash.pop()!r}", "another name", "rename the model")
    used = check_weights(weights, events)
    cuts = check_thresholds(thresholds) if np.size(thresholds) else np.zeros(0)
    shares = np.asarray(sorted(set(capacities)), dtype=np.float64)
    if shares.size and not ((shares > 0) & (shares <= 1)).all():
        raise InputError("a capacity outside 0 to 1", "shares such as 0.1 for a tenth")
    codes = check_groups(groups, events.size)
    ladders = {name: _ladder(events, risk) for name, risk in checked.items()}
    whole = _Counts(used[None, :], events, ladders, cuts, shares)
    parts = [
        _Counts(block, events, ladders, cuts, shares)
        for block in Bootstrap(codes, events, used, replicates=replicates, seed=seed)
    ]
    counts = {"n": events.size, "events": int(events.sum())}
    return _table(whole, parts, checked, cuts, shares, counts, level)


@dataclass(frozen=True)
class _Ladder:
    """A model's rows by falling risk, and where each block of equal risks ends."""

    order: NDArray[np.intp]
    ends: NDArray[np.intp]
    falling: Floats


def _ladder(events: NDArray[np.bool_], risks: Floats) -> _Ladder:
    order = np.argsort(-risks, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(risks[order]) != 0, True))
    return _Ladder(order, ends, -risks[order][ends])


class _Counts:
    """Weight tested and cases found by each strategy, as shares, under b weightings."""

    def __init__(
        self,
        weights: Floats,
        events: NDArray[np.bool_],
        ladders: Mapping[str, _Ladder],
        cuts: Floats,
        shares: Floats,
    ) -> None:
        total = weights.sum(axis=1)
        cases = weights[:, events].sum(axis=1)
        self.prevalence = cases / total
        self.tested: dict[str, Floats] = {}
        self.found: dict[str, Floats] = {}
        for name, ladder in ladders.items():
            sorted_weights = weights[:, ladder.order]
            reached = _cumulate(sorted_weights, ladder.ends) / total[:, None]
            hit = _cumulate(sorted_weights * events[ladder.order], ladder.ends) / cases[:, None]
            place = np.searchsorted(ladder.falling, -cuts, side="right")
            by_share = np.stack(
                [np.interp(shares, x, y) for x, y in zip(reached, hit, strict=True)]
            )
            self.found[name] = np.hstack([hit[:, place], by_share])
            fixed = np.broadcast_to(shares, by_share.shape)
            self.tested[name] = np.hstack([reached[:, place], fixed])


def _cumulate(weights: Floats, ends: NDArray[np.intp]) -> Floats:
    """Return running sums at the ends of blocks, starting from 0."""
    sums = np.cumsum(weights, axis=1)[:, ends]
    return np.hstack([np.zeros((len(weights), 1)), sums])


def _per_case(tested: Floats, found: Floats, prevalence: Floats) -> Floats:
    """Return tests a case; NaN where no case is found."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(found > 0, tested / (found * prevalence[:, None]), np.nan)


def _table(
    whole: _Counts,
    parts: list[_Counts],
    models: Mapping[str, Floats],
    cuts: Floats,
    shares: Floats,
    counts: Mapping[str, int],
    level: float,
) -> pd.DataFrame:
    """Return the table that `yield_of_testing` describes."""
    import pandas as pd

    prevalence = np.concatenate([part.prevalence for part in parts])
    ordered, ordered_resampled = 1.0 / whole.prevalence, 1.0 / prevalence
    places = [("threshold", at) for at in cuts] + [("capacity", at) for at in shares]
    low, high = percentile_interval(ordered_resampled, level)
    current = {"tests_per_case": float(ordered[0]), "low": float(low), "high": float(high)}
    same = {"fewer": 0.0, "fewer_low": 0.0, "fewer_high": 0.0}
    rows: list[dict[str, object]] = [
        {"model": AS_ORDERED, "kind": "all", "at": 1.0, "tested": 1.0}
        | {"found": 1.0, "found_low": 1.0, "found_high": 1.0}
        | current
        | same
    ]
    for at in shares:  # a random order finds its share of the cases, at today's price
        rows.append(
            {"model": RANDOM_ORDER, "kind": "capacity", "at": at, "tested": at}
            | {"found": at, "found_low": at, "found_high": at}
            | current
            | same
        )
    for name in models:
        found = whole.found[name]
        found_resampled = np.concatenate([part.found[name] for part in parts])
        tested = whole.tested[name]
        needed = _per_case(tested, found, whole.prevalence)
        needed_resampled = _per_case(
            np.concatenate([part.tested[name] for part in parts]), found_resampled, prevalence
        )
        fewer = ordered[:, None] - needed
        bounds = {
            "found": (found, found_resampled),
            "needed": (needed, needed_resampled),
            "fewer": (fewer, ordered_resampled[:, None] - needed_resampled),
        }
        limits = {key: percentile_interval(pair[1], level) for key, pair in bounds.items()}
        for place, (kind, at) in enumerate(places):
            few = tested[0, place] * counts["n"] < SMALL_CELL - 1e-9

            def cell(value: float, few: bool = few) -> float:
                return float("nan") if few else float(value)

            undefined = np.isnan(needed[0, place])
            rows.append(
                {"model": name, "kind": kind, "at": at}
                | {"tested": cell(tested[0, place])}
                | {
                    "found": cell(found[0, place]),
                    "found_low": cell(limits["found"][0][place]),
                    "found_high": cell(limits["found"][1][place]),
                }
                | {
                    "tests_per_case": cell(needed[0, place]),
                    "low": cell(limits["needed"][0][place], few or undefined),
                    "high": cell(limits["needed"][1][place], few or undefined),
                    "fewer": cell(fewer[0, place]),
                    "fewer_low": cell(limits["fewer"][0][place], few or undefined),
                    "fewer_high": cell(limits["fewer"][1][place], few or undefined),
                }
            )
    frame = pd.DataFrame(rows)
    return frame.assign(**counts)
