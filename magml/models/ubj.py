"""A look into a booster's bytes before XGBoost gets them.

XGBoost trusts what it loads: bytes that are no booster, or trees whose nodes point beyond their
end, crash the process or read memory that is not theirs. Here the bytes are parsed (UBJSON,
https://ubjson.org/, as XGBoost writes it) and every tree is checked to be one.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

#: Marker of a number to its format, big-endian.
_NUMBERS = {
    b"i": ">b", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8",
}  # fmt: skip
_TYPES = {marker: np.dtype(form.replace(">b", ">i1")) for marker, form in _NUMBERS.items()}
#: What a tree holds for each of its nodes.
_BY_NODE = (
    "base_weights", "default_left", "left_children", "loss_changes", "parents", "right_children",
    "split_conditions", "split_indices", "split_type", "sum_hessian",
)  # fmt: skip
_ROOT, _LEAF = 2**31 - 1, -1
_DEEPEST = 12


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._place = memoryview(data), 0

    def value(self, depth: int = 0) -> Any:
        marker = self._take(1)
        if marker == b"{":
            return self._object(depth)
        if marker == b"[":
            return self._array(depth)
        if marker == b"S":
            return self._text()
        if marker in (b"T", b"F"):
            return marker == b"T"
        return self._number(marker)

    def done(self) -> bool:
        return self._place == len(self._data)

    def _object(self, depth: int) -> dict[str, Any]:
        if depth > _DEEPEST:
            raise ValueError("too deep")
        found: dict[str, Any] = {}
        while self._peek() != b"}":
            name = self._text()
            if name in found:
                raise ValueError("a name that stands twice")
            found[name] = self.value(depth + 1)
        self._take(1)
        return found

    def _array(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("too deep")
        kind = None
        if self._peek() == b"$":
            self._take(1)
            kind = _TYPES.get(self._take(1))
            if kind is None or self._peek() != b"#":
                raise ValueError("a type that is not known")
        if self._peek() != b"#":
            raise ValueError("an array without a length")
        self._take(1)
        size = self._length()
        if kind is not None:
            return np.frombuffer(self._take(size * kind.itemsize), dtype=kind)
        if size > len(self._data):
            raise ValueError("longer than the data")
        return [self.value(depth + 1) for _ in range(size)]

    def _number(self, marker: bytes) -> float | int:
        if marker not in _TYPES:
            raise ValueError("a marker that is not known")
        kind = _TYPES[marker]
        found: float | int = np.frombuffer(self._take(kind.itemsize), dtype=kind)[0].item()
        return found

    def _length(self) -> int:
        # XGBoost writes every length as a 64-bit integer.
        if self._take(1) != b"L":
            raise ValueError("a length that is not one")
        size = int(struct.unpack(">q", self._take(8))[0])
        if size < 0:
            raise ValueError("a length below 0")
        return size

    def _text(self) -> str:
        return self._take(self._length()).decode("utf-8")

    def _peek(self) -> bytes:
        return bytes(self._data[self._place : self._place + 1])

    def _take(self, size: int) -> bytes:
        end = self._place + size
        if end > len(self._data):
            raise ValueError("cut off")
        found = bytes(self._data[self._place : end])
        self._place = end
        return found


def read_ubj(data: bytes) -> dict[str, Any]:
    """Return what a booster saved as UBJ holds; arrays are numpy's.

    Raises
    ------
    ValueError
        If the bytes are no UBJSON, are cut off or go on after its end.
    """
    reader = _Reader(data)
    content: dict[str, Any] = reader.value()
    if not reader.done():
        raise ValueError("more after its end")
    return content


def check_booster(data: bytes) -> None:
    """Refuse bytes that are no booster of trees with one output.

    Parameters
    ----------
    data
        A booster saved as UBJ.

    Raises
    ------
    ValueError
        With what is wrong; also KeyError, TypeError or AttributeError where a part is missing or
        of another kind.
    """
    learner = read_ubj(data)["learner"]
    parameters = learner["learner_model_param"]
    features = int(parameters["num_feature"])
    if int(parameters["num_class"]) > 1 or int(parameters["num_target"]) != 1:
        raise ValueError("more than one output")
    if learner["objective"]["name"] != "binary:logistic":
        raise ValueError("another objective")
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise ValueError("no booster of trees")
    model = booster["model"]
    trees = model["trees"]
    if int(model["gbtree_model_param"]["num_trees"]) != len(trees):
        raise ValueError("another number of trees")
    if int(model["gbtree_model_param"]["num_parallel_tree"]) != 1:
        raise ValueError("parallel trees")
    if list(model["tree_info"]) != [0] * len(trees):
        raise ValueError("trees of several outputs")
    if list(model["iteration_indptr"]) != list(range(len(trees) + 1)):
        raise ValueError("rounds that are not one tree each")
    for number, tree in enumerate(trees):
        _check_tree(tree, number, features)


def _check_tree(tree: dict[str, Any], number: int, features: int) -> None:
    """Refuse a tree whose nodes do not make one."""
    size = int(tree["tree_param"]["num_nodes"])
    if size < 1 or tree["id"] != number or int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise ValueError("a tree that is none")
    if int(tree["tree_param"]["num_feature"]) != features:
        raise ValueError("a tree of another number of columns")
    columns = {name: np.asarray(tree[name]) for name in _BY_NODE}
    if any(column.shape != (size,) for column in columns.values()):
        raise ValueError("nodes that lack a part")
    if any(len(tree[name]) for name in tree if name.startswith("categories")):
        raise ValueError("categories")
    left, right, parents = (
        columns[name].astype(np.int64) for name in ("left_children", "right_children", "parents")
    )
    inner = left != _LEAF
    if not np.array_equal(inner, right != _LEAF) or columns["split_type"].any():
        raise ValueError("a node with one child")
    children = np.concatenate([left[inner], right[inner]])
    # Every child is that of one node, and the first of none: no loop, nothing beyond the end.
    # Pruned nodes are nobody's child.
    if ((children < 1) | (children >= size)).any() or len(np.unique(children)) != len(children):
        raise ValueError("nodes that are not one tree")
    places = np.flatnonzero(inner)
    if parents[0] != _ROOT or (parents[children] != np.concatenate([places, places])).any():
        raise ValueError("a node that does not know its parent")
    split = columns["split_indices"].astype(np.int64)
    if ((split < 0) | (split >= features)).any():
        raise ValueError("a split by a column that is not there")
