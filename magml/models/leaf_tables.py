"""Tables from which many rows read their exact SHAP values.

What a leaf adds to a row's path-dependent SHAP values depends only on which splits of its path lead
the row toward it. A path of four splits knows sixteen such patterns, however many rows there are:
the values of every pattern are worked out once, and rows look them up. Leaves below one node share
the path to it, so a subtree whose path and splits are at most eight has one table of at most 256
patterns, which a row reads once for all of its leaves.

References
----------
Nadel A, Wettenstein R. From decision trees to Boolean logic: a fast and unified SHAP algorithm.
Proceedings of the AAAI Conference on Artificial Intelligence 2026; 40(29): 24476-24485.
doi:10.1609/aaai.v40i29.39630 (values by pattern; a table for each leaf or pair of leaves).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from magml.models.ubj import read_ubj

if TYPE_CHECKING:
    import xgboost as xgb

#: Splits that make up a pattern, at most; deeper trees have no tables.
DEEPEST = 8


class Lookup(NamedTuple):
    """The table of a subtree.

    Attributes
    ----------
    bits
        Splits of its path and its own, as places in `TreeTables.splits`; the first is the lowest
        bit of a pattern.
    columns
        Columns of the matrix that these splits ask for.
    values
        What each pattern adds to each column's SHAP value, shape (len(columns), 2 ** len(bits)).
    """

    bits: list[int]
    columns: list[int]
    values: NDArray[np.float32]


class TreeTables(NamedTuple):
    """A tree's splits (column, cut, whether a missing value goes left) and the tables below."""

    splits: list[tuple[int, np.float32, bool]]
    lookups: list[Lookup]


class _Step(NamedTuple):
    """A split on the way to a leaf: its place, whether the way goes left, the share that does."""

    split: int
    left: bool
    share: float


_Path = tuple[_Step, ...]


class _Tree:
    """A tree's arrays as Python lists, walked node by node."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.left, self.right, self.column = (
            np.asarray(tree[name]).tolist()
            for name in ("left_children", "right_children", "split_indices")
        )
        self.missing_left = np.asarray(tree["default_left"]).astype(bool).tolist()
        # A leaf's value stands where an inner node has its cut.
        self.cut = np.asarray(tree["split_conditions"]).astype(np.float32)
        self.cover = np.asarray(tree["sum_hessian"]).astype(np.float64).tolist()
        self.splits: list[int] = []
        self.inner = [0] * len(self.left)
        self.depth, below = 0, [0]
        # Not deeper than is asked: a tree that grows leaf by leaf may be deeper than Python calls.
        while self.depth <= DEEPEST and (below := self._below(below)):
            self.depth += 1
        if self.depth <= DEEPEST:
            self._number(0)

    def _below(self, nodes: list[int]) -> list[int]:
        """Return the children of nodes."""
        inner = [node for node in nodes if self.left[node] != -1]
        return [child for node in inner for child in (self.left[node], self.right[node])]

    def _number(self, node: int) -> None:
        """Number the splits from a node downwards, and count them for each."""
        if self.left[node] == -1:
            return
        self.splits.append(node)
        for child in (self.left[node], self.right[node]):
            self._number(child)
            self.inner[node] += self.inner[child]
        self.inner[node] += 1

    def step(self, node: int, left: bool) -> tuple[int, _Step]:
        """Return a node's child and the step to it."""
        child = self.left[node] if left else self.right[node]
        # Where no training row weighed anything there is no share: XGBoost has the last word.
        share = self.cover[child] / self.cover[node] if self.cover[node] else np.nan
        return child, _Step(node, left, share)

    def subtrees(self, node: int = 0, path: _Path = ()) -> Iterator[tuple[int, _Path]]:
        """Yield the topmost nodes whose path and splits fit into a pattern, with their paths."""
        if len(path) + self.inner[node] <= DEEPEST:
            if path or self.inner[node]:
                yield node, path
            return
        for left in (True, False):
            child, step = self.step(node, left)
            yield from self.subtrees(child, (*path, step))

    def leaves(self, node: int, path: _Path) -> Iterator[tuple[int, _Path]]:
        """Yield the leaves below a node with their paths from the root."""
        if self.left[node] == -1:
            yield node, path
            return
        for left in (True, False):
            child, step = self.step(node, left)
            yield from self.leaves(child, (*path, step))


class Forest:
    """A booster's trees; iterating yields each one's tables, worked out anew each time.

    Parameters
    ----------
    booster
        Trees of one output, without categories.

    Attributes
    ----------
    depth
        Splits on the longest path; where it is beyond `DEEPEST` there are no tables.

    Examples
    --------
    >>> import xgboost as xgb
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]], dtype=np.float32)
    >>> data = xgb.DMatrix(X, [0, 0, 1, 1])
    >>> booster = xgb.train({"max_depth": 1, "min_child_weight": 0}, data, 1)
    >>> found = np.zeros((1, 4), dtype=np.float32)
    >>> add_values(Forest(booster), np.ascontiguousarray(X.T), found)
    >>> bool(np.allclose(found[0], booster.predict(data, pred_contribs=True)[:, 0]))
    True
    """

    def __init__(self, booster: xgb.Booster) -> None:
        learner = read_ubj(bytes(booster.save_raw("ubj")))["learner"]
        self._trees = [_Tree(tree) for tree in learner["gradient_booster"]["model"]["trees"]]
        self.depth = max((tree.depth for tree in self._trees), default=0)

    @property
    def size(self) -> int:
        """Bytes that all tables take, at most."""
        bits = [len(w) + tree.inner[node] for tree in self._trees for node, w in tree.subtrees()]
        return sum(4 * count * 2**count for count in bits)

    def __iter__(self) -> Iterator[TreeTables]:
        for tree in self._trees:
            place = {node: number for number, node in enumerate(tree.splits)}
            yield TreeTables(
                [(tree.column[n], tree.cut[n], tree.missing_left[n]) for n in tree.splits],
                [_lookup(tree, place, node, path) for node, path in tree.subtrees()],
            )


def add_values(
    trees: Iterable[TreeTables], columns: NDArray[np.float32], total: NDArray[np.float32]
) -> None:
    """Add trees' SHAP values of rows to a total.

    Parameters
    ----------
    trees
        The tables of a `Forest`, in its trees' order.
    columns
        The matrix by column, shape (p, n); NaN is missing.
    total
        Shape (p, n) or more columns; the trees' values are added one after another.
    """
    rows = columns.shape[1]
    most = 2**DEEPEST
    met = np.empty((most, rows), dtype=np.uint8)
    pattern, bit = np.empty(rows, dtype=np.uint8), np.empty(rows, dtype=np.uint8)
    place, found = np.empty(rows, dtype=np.intp), np.empty(rows, dtype=np.float32)
    for tree in trees:
        for number, (column, cut, missing_left) in enumerate(tree.splits):
            # NaN compares false: where missing goes left, the bit says whether a row goes right.
            compare = np.greater_equal if missing_left else np.less
            compare(columns[column], cut, out=met[number].view(np.bool_))
        for bits, own, values in tree.lookups:
            np.copyto(pattern, met[bits[0]])
            for shift in range(1, len(bits)):
                np.left_shift(met[bits[shift]], shift, out=bit)
                np.bitwise_or(pattern, bit, out=pattern)
            np.copyto(place, pattern)
            for column, line in zip(own, values, strict=True):
                np.take(line, place, out=found, mode="clip")
                np.add(total[column], found, out=total[column])


def _lookup(tree: _Tree, place: dict[int, int], node: int, path: _Path) -> Lookup:
    """Return a subtree's table: the sum over its leaves of what each pattern adds."""
    nodes = [step.split for step in path]
    start = place[node] if tree.inner[node] else 0
    nodes += tree.splits[start : start + tree.inner[node]]
    columns = list(dict.fromkeys(tree.column[n] for n in nodes))
    leaves = list(tree.leaves(node, path))
    met, share, own = _ways(tree, nodes, columns, [way for _, way in leaves])
    value = tree.cut[[leaf for leaf, _ in leaves]].astype(np.float64)
    # The weighted mean over coalitions is the integral of a polynomial over the chance that
    # another feature is known, which Gauss and Legendre's few points give exactly.
    features, patterns = met.shape[1:]
    part = np.zeros(met.shape)
    for chance, weight in _points(features):
        factors = share * (1 - chance) + met * chance
        with np.errstate(invalid="ignore"):  # a share of 0 gives 0 / 0, as above
            part += weight * factors.prod(axis=1, keepdims=True) / factors
    part *= (met - share) * value[:, None, None]
    found = own @ part.reshape(-1, patterns)
    return Lookup([place[n] for n in nodes], columns, found.astype(np.float32))


def _ways(
    tree: _Tree, nodes: list[int], columns: list[int], ways: list[_Path]
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Return what leads to each leaf, a feature asked twice being asked once.

    Returns
    -------
    numpy.ndarray
        Whether a pattern meets what each leaf (L) asks of each of up to d features, shape
        (L, d, patterns); true where it asks fewer.
    numpy.ndarray
        Shares of the training rows that do, shape (L, d, 1).
    numpy.ndarray
        Which column each (leaf, feature) is, 0 or 1, shape (len(columns), L x d).
    """
    patterns = _patterns(len(nodes))
    bit = {node: number for number, node in enumerate(nodes)}
    longest = max(map(len, ways))
    met = np.ones((len(ways), longest, patterns.shape[1]), dtype=np.bool_)
    share = np.ones((len(ways), longest, 1))
    own = np.zeros((len(columns), len(ways), longest))
    number = {column: k for k, column in enumerate(columns)}
    for leaf, way in enumerate(ways):
        slots: dict[int, int] = {}
        for split, left, part in way:
            slot = slots.setdefault(tree.column[split], len(slots))
            met[leaf, slot] &= patterns[bit[split]] == (left != tree.missing_left[split])
            share[leaf, slot] *= part
            own[number[tree.column[split]], leaf, slot] = 1
    return met, share, own.reshape(len(columns), -1)


@cache
def _patterns(bits: int) -> NDArray[np.bool_]:
    """Return the bits of all patterns, shape (bits, 2 ** bits)."""
    return (np.arange(2**bits) >> np.arange(bits)[:, None] & 1).astype(np.bool_)


@cache
def _points(features: int) -> list[tuple[float, float]]:
    """Return the points and weights that integrate a product of features - 1 lines exactly."""
    points, weights = np.polynomial.legendre.leggauss(max((features + 1) // 2, 1))
    return list(zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))
