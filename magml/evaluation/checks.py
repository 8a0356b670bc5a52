"""What an evaluation accepts: one-dimensional, complete, two classes, risks within 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.errors import InputError, nearest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Names of the two strategies that need no model; no model may carry them.
TREAT_ALL = "treat all"
TREAT_NONE = "treat none"
#: Fewest people that a point of a plot or a group in a table may stand for.
SMALL_CELL = 10


def check_labels(labels: ArrayLike) -> NDArray[np.bool_]:
    """Outcomes as a boolean vector.

    Parameters
    ----------
    labels : array_like, shape (n,)
        True or 1 for people with the outcome, False or 0 for the others.

    Returns
    -------
    numpy.ndarray of bool, shape (n,)

    Raises
    ------
    InputError
        If the labels are not one column of 0/1 values, are incomplete, or hold one class only.

    Examples
    --------
    >>> check_labels([0, 1, 1]).tolist()
    [False, True, True]
    """
    array = _vector(labels, "labels")
    missing = int(np.isnan(array).sum())
    if missing:
        raise InputError(
            f"{missing} of {array.size} labels are missing",
            "every row labelled",
            "leave rows without a known outcome out of the evaluation",
        )
    events = array == 1
    if not np.all(events | (array == 0)):
        odd = int((~(events | (array == 0))).sum())
        raise InputError(
            f"{odd} of {array.size} labels are neither 0 nor 1",
            "labels of 0 and 1, or False and True",
        )
    if events.all() or not events.any():
        raise InputError(
            f"{array.size} rows, {int(events.sum())} of them with the outcome",
            "at least one row with and one without the outcome",
            "check the outcome definition, the cohort, or the subgroup evaluated",
        )
    return events


def check_risks(risks: Mapping[str, ArrayLike], n: int) -> dict[str, NDArray[np.float64]]:
    """Predicted risks of every model as float vectors of length `n`.

    Parameters
    ----------
    risks : mapping of str to array_like, shape (n,)
        Predicted probabilities by the name of the model.
    n : int
        Number of labelled rows.

    Returns
    -------
    dict of str to numpy.ndarray, shape (n,)

    Raises
    ------
    InputError
        If there is no model, or a model's risks are of another length, missing, or outside 0 to 1.

    Examples
    --------
    >>> check_risks({"model": [0.1, 0.9]}, 2)["model"].tolist()
    [0.1, 0.9]
    """
    if not risks:
        raise InputError("no predicted risks", "at least one model's risks by its name")
    return {str(name): _risk(str(name), values, n) for name, values in risks.items()}


def _risk(name: str, values: ArrayLike, n: int) -> NDArray[np.float64]:
    if name in (TREAT_ALL, TREAT_NONE):
        raise InputError(
            f"a model named {name!r}",
            f"any name but {TREAT_ALL!r} and {TREAT_NONE!r}, which decision curves add themselves",
        )
    array = _vector(values, f"risks of {name!r}")
    if array.size != n:
        raise InputError(
            f"{array.size} risks of {name!r}", f"{n}, one for each label, in the same order"
        )
    missing = int(np.isnan(array).sum())
    if missing:
        raise InputError(
            f"{missing} of {n} risks of {name!r} are missing",
            "every model computable on every row, so that models are compared on the same people",
            f"leave {name!r} out and report it as not computable, or evaluate the rows it covers",
        )
    outside = (array < 0) | (array > 1)
    if outside.any():
        raise InputError(
            f"{int(outside.sum())} of {n} risks of {name!r} lie outside 0 to 1",
            "probabilities",
            "calibrate a score to probabilities first",
        )
    return array


def check_weights(weights: ArrayLike | None, events: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Row weights as floats, ones where none are given.

    Parameters
    ----------
    weights : array_like, shape (n,), or None
        Non-negative weight of each row, such as the inverse of the probability of being measured.
    events : numpy.ndarray of bool, shape (n,)
        The outcomes.

    Returns
    -------
    numpy.ndarray, shape (n,)

    Raises
    ------
    InputError
        If a weight is missing, infinite or negative, or one class has no weight at all.

    Examples
    --------
    >>> check_weights(None, np.array([True, False])).tolist()
    [1.0, 1.0]
    """
    if weights is None:
        return np.ones(events.size)
    array = _vector(weights, "weights")
    if array.size != events.size:
        raise InputError(f"{array.size} weights", f"{events.size}, one for each label")
    bad = ~np.isfinite(array) | (array < 0)
    if bad.any():
        raise InputError(
            f"{int(bad.sum())} of {array.size} weights are missing, infinite or negative",
            "finite weights of 0 or more",
        )
    if not (array[events].any() and array[~events].any()):
        raise InputError(
            "one outcome class whose weights are all 0", "positive weight in both classes"
        )
    return array


def check_groups(groups: ArrayLike, n: int) -> NDArray[np.intp]:
    """Groups as codes 0 to g-1, numbered by their sorted names.

    Parameters
    ----------
    groups : array_like, shape (n,)
        The unit that is resampled: the patient of each row, or its hospital.
    n : int
        Number of labelled rows.

    Returns
    -------
    numpy.ndarray of int, shape (n,)

    Raises
    ------
    InputError
        If groups are missing or fewer than two.

    Examples
    --------
    >>> check_groups(["b", "a", "b"], 3).tolist()
    [1, 0, 1]
    """
    import pandas as pd

    # pandas keeps what numpy would not: missing identifiers, and numbers beside strings.
    names: pd.Series[Any] = pd.Series(groups)
    if len(names) != n:
        raise InputError(f"{len(names)} groups", f"{n}, one for each label")
    try:
        codes, unique = pd.factorize(names, sort=True)
    except TypeError:
        raise InputError("groups of several types", "identifiers of one type") from None
    missing = int((codes < 0).sum())
    if missing:
        raise InputError(f"{missing} of {n} rows without a group", "a patient or hospital a row")
    if len(unique) < 2:
        raise InputError(
            f"{len(unique)} group",
            "at least 2 groups: intervals come from resampling them",
            "group by patient where there is one hospital only",
        )
    return np.asarray(codes, dtype=np.intp)


def check_thresholds(thresholds: ArrayLike) -> NDArray[np.float64]:
    """Decision thresholds, sorted, strictly between 0 and 1.

    Parameters
    ----------
    thresholds : array_like, shape (t,)
        Risks at which one would act.

    Returns
    -------
    numpy.ndarray, shape (t,)

    Raises
    ------
    InputError
        If there is none, or one is not strictly between 0 and 1.

    Examples
    --------
    >>> check_thresholds([0.2, 0.1]).tolist()
    [0.1, 0.2]
    """
    array = np.unique(_vector(thresholds, "thresholds"))
    if array.size == 0:
        raise InputError("no thresholds", "at least one risk strictly between 0 and 1")
    bad = array[~((array > 0) & (array < 1))]
    if bad.size:
        raise InputError(f"the threshold {bad[0]:g}", "risks strictly between 0 and 1")
    return array


def check_reference(reference: str, names: Sequence[str]) -> str:
    """The name of the model the others are compared with.

    Parameters
    ----------
    reference : str
        A model's name.
    names : sequence of str
        The models there are.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If there is no such model; the nearest name is suggested.

    Examples
    --------
    >>> check_reference("bag", ["bag", "logistic"])
    'bag'
    """
    if reference not in names:
        raise InputError(
            f"the reference {reference!r}",
            nearest(str(reference), names),
            "name one of the models evaluated",
        )
    return reference


def _vector(values: ArrayLike, what: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        # The cause is not chained: its text quotes the value.
        raise InputError(f"{what} that are not numbers", "one column of numbers") from None
    if array.ndim != 1:
        raise InputError(f"{what} of shape {array.shape}", "one column, one value a row")
    return array
