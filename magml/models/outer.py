"""Outer splits other than folds: one site left out at a time, and what came last held out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.errors import CohortError
from magml.models.splits import connected_groups


@dataclass(frozen=True, eq=False)
class OuterSplit:
    """Which rows test, and which rows train for them.

    Attributes
    ----------
    fold
        Fold in which a row is tested, 0, 1, ..., int64, shape (n,); -1 where it never is.
    train
        For each fold the rows that train, bool, shape (n,).
    note
        What was held out, in words.
    """

    fold: NDArray[np.int64]
    train: tuple[NDArray[np.bool_], ...]
    note: str


def leave_one_site_out(
    y: ArrayLike, persons: ArrayLike, sites: ArrayLike, evaluated: ArrayLike | None = None
) -> OuterSplit:
    """Return a split in which each site is tested once by what the others taught.

    Sites that share a person are held out together.

    Parameters
    ----------
    y, persons, sites
        Outcome, person and site of each row, shape (n,).
    evaluated
        Rows that predictions are wanted for, shape (n,); default all. The others only train.

    Raises
    ------
    CohortError
        If fewer than two sites remain apart, or all rows with, or all without, the outcome
        are at one site.

    Examples
    --------
    >>> split = leave_one_site_out([0, 1, 0, 1], [1, 2, 3, 4], ["a", "a", "b", "b"])
    >>> split.fold.tolist(), split.train[0].tolist()
    ([0, 0, 1, 1], [False, False, True, True])
    """
    outcome, group = np.asarray(y).astype(bool), connected_groups(persons, sites)
    wanted = _wanted(evaluated, len(outcome))
    held = np.unique(group[wanted])
    named = len(np.unique(np.asarray(sites)))
    if len(held) < 2:
        raise CohortError(
            f"{named} sites, of which {len(held)} can be held out without sharing a person",
            "at least two sites without a person in common",
            "use validation.groups: subject",
        )
    fold = np.full(len(outcome), -1, dtype=np.int64)
    fold[wanted] = np.searchsorted(held, group[wanted])
    train = tuple(group != site for site in held)
    for side in train:
        _check_side(outcome[side & wanted], "train", "the sites that are not held out")
    joined = "" if len(held) == named else f" ({named} sites; those that share people together)"
    return OuterSplit(fold, train, f"leave one site out: {len(held)} held out in turn{joined}")


def temporal_holdout(
    y: ArrayLike,
    persons: ArrayLike,
    times: ArrayLike,
    *,
    before: dt.datetime | None = None,
    test_share: float = 0.3,
    horizon: int = 0,
    evaluated: ArrayLike | None = None,
) -> OuterSplit:
    """Return a split that trains on what came first and tests on what came last.

    People with a prediction time before the cut train; the others test. What the training people
    have later is not used, and neither are rows whose time at risk reaches beyond the cut: their
    outcome was not yet known there.

    Parameters
    ----------
    y, persons, times
        Outcome, person and prediction time of each row, shape (n,).
    before
        The cut; default the moment that leaves the latest `test_share` of prediction times.
    horizon
        Seconds from the prediction time to the end of the time at risk.
    evaluated
        As for :func:`leave_one_site_out`.

    Raises
    ------
    CohortError
        If one side is empty or of one class.

    Examples
    --------
    >>> days = np.array(["2020-01-01", "2020-01-02", "2020-02-01", "2020-02-02"], "M8[us]")
    >>> split = temporal_holdout([0, 1, 0, 1], [1, 2, 3, 4], days, test_share=0.5)
    >>> split.fold.tolist(), split.train[0].tolist()
    ([-1, -1, 0, 0], [True, True, False, False])
    """
    outcome = np.asarray(y).astype(bool)
    moment = np.asarray(times).astype("datetime64[us]")
    wanted = _wanted(evaluated, len(outcome))
    if before is not None:
        cut = np.datetime64(before, "us")
    else:
        ordered = np.sort(moment[wanted])
        cut = ordered[min(int(np.ceil(len(ordered) * (1 - test_share))), len(ordered) - 1)]
    _, person = np.unique(np.asarray(persons), return_inverse=True)
    first = np.full(int(person.max()) + 1, np.datetime64("9999-01-01", "us"))
    np.minimum.at(first, person, moment)
    early = first[person] < cut
    over = moment + np.timedelta64(horizon, "s") > cut
    test, train = ~early & wanted, early & ~over
    _check_side(outcome[train & wanted], "train", f"prediction times before {_day(cut)}")
    _check_side(outcome[test], "test", f"people first seen at or after {_day(cut)}")
    unused = int((wanted & ~train & ~test).sum())
    note = (
        f"temporal hold-out at {_day(cut)}: {int((train & wanted).sum())} prediction times before "
        f"it train and {int(test.sum())} of people first seen later test; {unused} are used for "
        "neither (later ones of people who train, or with a time at risk across the cut)"
    )
    return OuterSplit(np.where(test, 0, -1).astype(np.int64), (train,), note)


def _wanted(evaluated: ArrayLike | None, n: int) -> NDArray[np.bool_]:
    return np.ones(n, dtype=bool) if evaluated is None else np.asarray(evaluated, dtype=bool)


def _check_side(outcome: NDArray[np.bool_], what: str, whose: str) -> None:
    """Refuse a side from which nothing can be learned, or on which nothing can be measured."""
    if outcome.size == 0 or outcome.all() or not outcome.any():
        raise CohortError(
            f"{outcome.size} rows with {int(outcome.sum())} cases to {what}: {whose}",
            "rows with and without the outcome on both sides",
            "choose another cut or share, or other groups; times that a source made up "
            "(one day for everybody) cannot be split",
        )


def _day(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[s]")).replace("T", " ")
