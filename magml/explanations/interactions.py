"""How much pairs of concepts act together in a bag's trees: exact Shapley interaction values.

XGBoost's own ``pred_interactions`` computes every pair of features and takes seconds a row. A leaf
of a tree is reached or not by a handful of features alone, so for a stated list of pairs its part
follows from a closed formula (a product game; Lundberg 2018, eq. 4-6).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError

if TYPE_CHECKING:
    from magml.models.bag import Bag

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Step:
    """What one feature decides on the way to a leaf: which rows it lets pass, and the cover's
    share that passes when the feature is not known."""

    feature: int
    passes: NDArray[np.bool_]
    share: float


def pair_interactions(
    bag: Bag,
    X: NDArray[np.float32],
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
) -> Floats:
    """Return what pairs of groups of features add together, beyond each alone.

    Parameters
    ----------
    bag
        The boosters.
    X
        Matrix, shape (n, p); NaN is missing.
    pairs
        For each pair, the columns of either group; no column may be in both.

    Returns
    -------
    numpy.ndarray
        Log-odds of the mean margin, shape (n, number of pairs): the Shapley interaction index,
        summed over the pairs of columns. It is twice the off-diagonal value that
        ``pred_interactions`` gives to each side.

    Raises
    ------
    InputError
        If a column is on both sides of a pair.

    References
    ----------
    Lundberg SM, Erion GG, Lee SI. Consistent individualized feature attribution for tree
    ensembles. arXiv:1802.03888, 2018.
    """
    sides: dict[tuple[int, int], list[int]] = {}
    for number, (first, second) in enumerate(pairs):
        if set(first) & set(second):
            raise InputError(
                f"column {min(set(first) & set(second))} on both sides of a pair",
                "two groups without a common column",
                "name two different concepts",
            )
        for i in first:
            for j in second:
                sides.setdefault((min(i, j), max(i, j)), []).append(number)
    total = np.zeros((len(X), len(pairs)))
    wanted = {column for pair in sides for column in pair}
    for booster in bag.boosters:
        model = json.loads(bytes(booster.save_raw("json")))
        for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
            if len(wanted.intersection(tree["split_indices"])) > 1:
                _add_tree(tree, X, sides, total)
    return total / len(bag.boosters)


def _add_tree(
    tree: dict[str, Any],
    X: NDArray[np.float32],
    sides: dict[tuple[int, int], list[int]],
    total: Floats,
) -> None:
    """Add one tree's part of every pair."""
    left, right = tree["left_children"], tree["right_children"]
    cover = tree["sum_hessian"]

    def walk(node: int, steps: tuple[_Step, ...]) -> None:
        if left[node] == -1:
            _add_leaf(float(tree["split_conditions"][node]), steps, sides, total)
            return
        feature = int(tree["split_indices"][node])
        values = X[:, feature]
        below = values < np.float32(tree["split_conditions"][node])
        below |= np.isnan(values) & bool(tree["default_left"][node])
        for child, goes in ((left[node], below), (right[node], ~below)):
            share = float(cover[child]) / float(cover[node])
            walk(child, _extended(steps, _Step(feature, goes, share)))

    walk(0, ())


def _extended(steps: tuple[_Step, ...], new: _Step) -> tuple[_Step, ...]:
    """Return the steps with one more; a feature asked twice is one step."""
    for number, step in enumerate(steps):
        if step.feature == new.feature:
            joint = _Step(new.feature, step.passes & new.passes, step.share * new.share)
            return (*steps[:number], joint, *steps[number + 1 :])
    return (*steps, new)


def _add_leaf(
    value: float,
    steps: tuple[_Step, ...],
    sides: dict[tuple[int, int], list[int]],
    total: Floats,
) -> None:
    """Add one leaf's part of every pair on its path."""
    for a in range(len(steps)):
        for b in range(a + 1, len(steps)):
            one, other = steps[a], steps[b]
            place = (min(one.feature, other.feature), max(one.feature, other.feature))
            numbers = sides.get(place)
            if numbers is None:
                continue
            rest = [step for k, step in enumerate(steps) if k not in (a, b)]
            found = value * (one.passes - one.share) * (other.passes - other.share)
            found *= _weighted_subsets(rest, len(steps), len(total))
            for number in numbers:
                total[:, number] += found


def _weighted_subsets(rest: list[_Step], size: int, rows: int) -> Floats:
    """Return the sum over subsets of known features, weighted as Shapley's index does.

    A subset of k known ones of the `size` - 2 others weighs k! (size - k - 2)! / (size - 1)!.
    """
    by_known = [np.ones(rows)]
    for step in rest:
        passes = step.passes.astype(np.float64)
        longer = [np.zeros(rows) for _ in range(len(by_known) + 1)]
        for k, part in enumerate(by_known):
            longer[k] += part * step.share
            longer[k + 1] += part * passes
        by_known = longer
    whole = math.factorial(size - 1)
    weighted = np.zeros(rows)
    for k, part in enumerate(by_known):
        weighted += part * (math.factorial(k) * math.factorial(size - k - 2) / whole)
    return weighted
