"""Shapley values of trees by their definition, over all coalitions of features."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def trees_of(booster: Any) -> list[dict]:
    """Return what XGBoost's own JSON says of a booster's trees."""
    content = json.loads(bytes(booster.save_raw("json")))
    return content["learner"]["gradient_booster"]["model"]["trees"]


def expected_margin(
    tree: dict, row: Sequence[float], known: frozenset[int], node: int = 0
) -> float:
    """Return a tree's expectation when only some features are known (Lundberg 2018, alg. 1)."""
    left, right = tree["left_children"][node], tree["right_children"][node]
    if left == -1:
        return float(tree["split_conditions"][node])
    feature = tree["split_indices"][node]
    if feature in known:
        value = row[feature]
        if math.isnan(value):
            child = left if tree["default_left"][node] else right
        else:
            child = left if value < np.float32(tree["split_conditions"][node]) else right
        return expected_margin(tree, row, known, child)
    cover = tree["sum_hessian"]
    return (
        cover[left] * expected_margin(tree, row, known, left)
        + cover[right] * expected_margin(tree, row, known, right)
    ) / cover[node]


def brute_force_shapley(trees: list[dict], row: Sequence[float], features: int) -> np.ndarray:
    """Return Shapley values by their definition, over all subsets."""
    value = {
        frozenset(subset): sum(expected_margin(tree, row, frozenset(subset)) for tree in trees)
        for size in range(features + 1)
        for subset in itertools.combinations(range(features), size)
    }
    total = np.zeros(features)
    for subset, worth in value.items():
        for feature in set(range(features)) - subset:
            weight = (
                math.factorial(len(subset))
                * math.factorial(features - len(subset) - 1)
                / math.factorial(features)
            )
            total[feature] += weight * (value[subset | {feature}] - worth)
    return total
