"""Boosters trained by `xgboost.spark` on the executors, with the parameters of one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from magml.definitions.model import Estimator
from magml.errors import CohortError
from magml.features.arrow import to_numpy
from magml.models.bag import Bag
from magml.models.leaves import LEAST_PEOPLE
from magml.models.member import booster_parameters
from magml.models.seeds import derive_seed

if TYPE_CHECKING:
    import xgboost as xgb
    from pyspark.sql import Column, DataFrame

#: Hashes of people are told apart this finely.
_PARTS = 1 << 20
_DOUBLINGS = 12
#: What `xgboost.spark` sets itself, or is told by the cluster.
_NOT_SPARK = ("nthread", "objective", "seed", "verbosity", "device")


@dataclass(frozen=True)
class LabelledFrame:
    """Rows to train on: ``subject_id``, ``label`` (0 or 1) and ``features`` (array, NaN missing).

    Attributes
    ----------
    frame
        The rows, persisted.
    names
        Names of the features, in the order of the array.
    workers
        Tasks that train one booster together; the cluster must run so many at once.
    """

    frame: DataFrame
    names: tuple[str, ...]
    workers: int

    def where(self, condition: Column) -> LabelledFrame:
        """Return some of the rows."""
        return replace(self, frame=self.frame.where(condition))


def share(seed: int) -> Column:
    """Return a number from 0 to 1 of each person, drawn by a seed: the same on every cluster."""
    from pyspark.sql import functions as F

    return F.pmod(F.xxhash64(F.lit(seed), F.col("subject_id")), F.lit(_PARTS)) / _PARTS


def fit_bag_on_spark(
    rows: LabelledFrame,
    estimator: Estimator,
    *,
    seed: int,
    monotone: Mapping[str, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bag:
    """Train a bag on all rows of a frame, each member on its own share of people.

    Parameters
    ----------
    rows
        What it learns from.
    estimator, seed, monotone
        As for `magml.models.bag.fit_bag`. People are drawn by a hash of the seed and their id
        instead of a shuffle, and cuts are found by the executors together, so that the boosters
        are of the same kind, but not the same bytes, as those of one machine.
    progress
        Called with (members done, members).

    Raises
    ------
    CohortError
        If a member would see one class only.
    """
    parameters = booster_parameters(estimator, rows.names, monotone, 1)
    rounds = {"n_estimators": estimator.rounds}
    if estimator.early_stopping is not None:
        rounds |= {"early_stopping_rounds": estimator.early_stopping}
    boosters = []
    for number in range(estimator.members):
        chosen = share(derive_seed(seed, "people", number)) < estimator.subsample_people
        settings = {**parameters, "random_state": derive_seed(seed, "member", number), **rounds}
        boosters.append(_fit_member(rows, chosen, settings))
        if progress is not None:
            progress(number + 1, estimator.members)
    return Bag(tuple(boosters), rows.names)


def _fit_member(rows: LabelledFrame, chosen: Column, settings: dict[str, Any]) -> xgb.Booster:
    """Train one booster with enough people in each leaf (`magml.models.leaves`)."""
    from pyspark.sql import functions as F

    own = rows.where(chosen)
    (counts,) = (
        own.frame.groupBy("subject_id")
        .agg(F.count("*").alias("rows"), F.sum("label").alias("cases"))
        .agg(
            F.count("*").alias("people"),
            F.sum("rows").alias("rows"),
            F.sum("cases").alias("cases"),
            F.max("rows").alias("most"),
        )
        .collect()
    )
    cases, total, most, people = counts["cases"], counts["rows"], counts["most"], counts["people"]
    if not total or cases in (0, total):
        raise CohortError(
            f"{total or 0} rows of one class only for a member of the bag",
            "rows with and without the outcome",
            "check the outcome and the labels",
        )
    settings = {**settings, "base_score": min(max(cases / total, 1e-6), 1 - 1e-6)}
    stopping = "early_stopping_rounds" in settings
    weight = float(settings["min_child_weight"])
    for _ in range(_DOUBLINGS):
        frame = rows.frame.withColumn("left_out", ~chosen) if stopping else own.frame
        booster = _trained(frame, {**settings, "min_child_weight": weight}, rows.workers, stopping)
        # Each row adds at most 1/4 to the weight of a leaf.
        if 4 * weight >= LEAST_PEOPLE * most:
            break
        if _least_people(own.frame, booster, people) >= min(LEAST_PEOPLE, people):
            break
        weight = max(2 * weight, 1.0)
    return booster


def _trained(
    frame: DataFrame, settings: Mapping[str, Any], workers: int, stopping: bool
) -> xgb.Booster:
    """Return a booster trained by `xgboost.spark`, in the form that one machine gives it."""
    from xgboost.spark import SparkXGBClassifier

    learner = SparkXGBClassifier(
        features_col="features",
        label_col="label",
        num_workers=workers,
        device=settings["device"],
        verbosity=0,
        verbose=False,
        validation_indicator_col="left_out" if stopping else None,
        **({"eval_metric": "logloss"} if stopping else {}),
        **{name: value for name, value in settings.items() if name not in _NOT_SPARK},
    )
    booster = learner.fit(frame).get_booster()
    if stopping and "best_iteration" in booster.attributes():
        booster = booster[: booster.best_iteration + 1]
    booster.set_attr(**dict.fromkeys(booster.attributes()))
    booster.feature_names = booster.feature_types = None
    booster.set_param({"nthread": 1})
    return booster


def _least_people(frame: DataFrame, booster: xgb.Booster, people: int) -> int:
    """Return the fewest people in any leaf; beyond `LEAST_PEOPLE` nobody counts."""
    raw = bytes(booster.save_raw("ubj"))
    found = (
        frame.select("subject_id", "features")
        .mapInArrow(partial(_leaves, raw), "tree INT, leaf INT, subject_id BIGINT")
        .distinct()
        .groupBy("tree", "leaf")
        .count()
        .agg({"count": "min"})
        .collect()
    )
    return int(found[0][0]) if found[0][0] is not None else people


def _leaves(raw: bytes, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield a few people of each leaf that the rows of a partition reach (in an executor)."""
    import xgboost as xgb

    booster = xgb.Booster({"nthread": 1}, model_file=bytearray(raw))
    for batch in batches:
        if not batch.num_rows:
            continue
        data = xgb.DMatrix(matrix_of(batch["features"]), missing=np.nan, nthread=1)
        leaves = booster.predict(data, pred_leaf=True, validate_features=False)
        leaves = leaves.reshape(batch.num_rows, -1).astype(np.int32)
        people = to_numpy(batch["subject_id"])
        found = [
            (tree, leaf, person)
            for tree, own in enumerate(leaves.T)
            for leaf in np.unique(own)
            for person in np.unique(people[own == leaf])[:LEAST_PEOPLE]
        ]
        columns = [
            pa.array([line[k] for line in found], kind)
            for k, kind in enumerate((pa.int32(), pa.int32(), pa.int64()))
        ]
        yield pa.RecordBatch.from_arrays(columns, ["tree", "leaf", "subject_id"])


def matrix_of(arrays: pa.Array) -> np.ndarray:
    """Return arrays of equal length as a matrix, float32 [rows, features]."""
    flat = arrays.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(len(arrays), -1)
