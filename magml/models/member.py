"""Training one booster of a bag on chosen rows of a matrix, without a copy of the matrix."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.definitions.model import Estimator
from magml.errors import InputError
from magml.memory import limit

if TYPE_CHECKING:
    import xgboost as xgb

#: Up to so many values each member finds its own cuts; beyond, the members share cuts.
_SMALL = 20_000_000
#: Rows that shared cuts are found on, spread evenly over all: some 300 for each of 64 bins.
_CUT_ROWS = 20_000
#: Values of one batch.
_BATCH = 10_000_000
#: Bytes that XGBoost takes for a value of a binned matrix with missing values, and for finding it.
_BYTES = 6


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """A matrix with outcomes and weights, of which members take their rows.

    Attributes
    ----------
    X
        Matrix, shape (n, p), float32; NaN is missing. It may be mapped from a file.
    y, weight
        Outcome and weight of each row, float32, shape (n,); without `weight` all weigh the same.
    """

    X: NDArray[np.float32]
    y: NDArray[np.float32]
    weight: NDArray[np.float32] | None = None

    def prevalence(self, rows: NDArray[np.intp]) -> float:
        """Return the weighted mean outcome of rows."""
        weights = None if self.weight is None else self.weight[rows]
        return float(np.average(self.y[rows].astype(np.float64), weights=weights))

    def cuts(self, rows: NDArray[np.intp], max_bin: int, threads: int) -> xgb.DMatrix | None:
        """Return a small matrix whose cuts all members take over; None where rows are few.

        Finding cuts takes a quarter of a member's time, and members hardly differ in them.
        """
        import xgboost as xgb

        if rows.size * self.X.shape[1] <= _SMALL:
            return None
        some = rows[np.unique(np.linspace(0, len(rows) - 1, _CUT_ROWS).astype(np.intp))]
        return xgb.QuantileDMatrix(self.X[some], max_bin=max_bin, missing=np.nan, nthread=threads)

    def binned(self, rows: int) -> int:
        """Return the bytes that a binned matrix of so many rows takes in memory."""
        return _BYTES * rows * self.X.shape[1]

    def data(
        self,
        rows: NDArray[np.intp],
        max_bin: int,
        threads: int,
        cuts: xgb.DMatrix | None,
        folder: str | None = None,
    ) -> xgb.DMatrix:
        """Return rows as XGBoost takes them; with shared cuts they are binned batch by batch.

        With a folder the binned batches stay there, and training reads them one after another.
        """
        import xgboost as xgb

        if cuts is None:
            return xgb.DMatrix(**self._batch(rows), missing=np.nan, nthread=threads)
        shape = xgb.QuantileDMatrix if folder is None else xgb.ExtMemQuantileDMatrix
        batches = _batches(self, rows, folder)
        return shape(batches, max_bin=max_bin, missing=np.nan, nthread=threads, ref=cuts)

    def _batch(self, rows: NDArray[np.intp]) -> dict[str, Any]:
        """Return a copy of rows with outcome and weight."""
        weight = {} if self.weight is None else {"weight": self.weight[rows]}
        return {"data": self.X[rows], "label": self.y[rows], **weight}


def _batches(training: TrainingRows, rows: NDArray[np.intp], folder: str | None) -> xgb.DataIter:
    """Return an iterator over copies of some rows at a time."""
    import xgboost as xgb

    size = max(1, _BATCH // training.X.shape[1])

    class Batches(xgb.DataIter):
        def __init__(self) -> None:
            prefix = None if folder is None else tempfile.mkdtemp(dir=folder) + "/rows"
            super().__init__(cache_prefix=prefix, release_data=True)
            self.start = 0

        def next(self, input_data: Callable[..., Any]) -> bool:
            if self.start >= len(rows):
                return False
            input_data(**training._batch(rows[self.start : self.start + size]))
            self.start += size
            return True

        def reset(self) -> None:
            self.start = 0

    return Batches()


def booster_parameters(
    estimator: Estimator,
    names: tuple[str, ...],
    monotone: Mapping[str, int] | None,
    threads: int,
) -> dict[str, Any]:
    """Return XGBoost's parameters.

    Raises
    ------
    InputError
        If the estimator asks for a graphics processor and there is none, or a constraint names
        an unknown column.
    """
    if estimator.device == "cuda" and not has_cuda():
        raise InputError(
            "the device cuda, and no graphics processor that XGBoost can use",
            "an NVIDIA graphics processor with its driver, or the device cpu",
            "train where there is one, or set estimator: {device: cpu} in the model's file",
        )
    parameters: dict[str, Any] = {
        **estimator.parameters,
        "objective": "binary:logistic",
        "tree_method": "hist",
        "device": estimator.device,
        "nthread": threads,
        "verbosity": 0,
    }
    if monotone:
        unknown = sorted(set(monotone) - set(names))
        if unknown:
            raise InputError(
                f"a constraint on unknown columns: {', '.join(unknown)}",
                "names of columns of the matrix",
                "constrain only features that the model uses",
            )
        signs = ",".join(str(int(monotone.get(name, 0))) for name in names)
        parameters["monotone_constraints"] = f"({signs})"
    return parameters


def fit_member(
    training: TrainingRows,
    rows: NDArray[np.intp],
    left_out: NDArray[np.intp],
    parameters: Mapping[str, Any],
    rounds: int,
    *,
    cuts: xgb.DMatrix | None = None,
    early_stopping: int | None = None,
    on_disk: bool = False,
) -> xgb.Booster:
    """Train one booster.

    Parameters
    ----------
    training
        The matrix with outcomes.
    rows
        Rows it learns from.
    left_out
        Rows of other people, on which early stopping measures the log loss.
    parameters
        XGBoost's parameters, with `max_bin` and `nthread`.
    rounds
        Number of trees; with early stopping at most so many.
    cuts
        What `TrainingRows.cuts` returned.
    early_stopping
        Stop when so many trees did not lower the log loss, and drop them. Without rows of both
        classes left out there is nothing to measure, and all rounds are kept.
    on_disk
        Keep the binned rows in a temporary folder instead of memory, where there are shared cuts.
        The trees are the same, byte for byte.

    Returns
    -------
    xgboost.Booster
    """

    settings = {
        **parameters,
        "base_score": min(max(training.prevalence(rows), 1e-6), 1 - 1e-6),
    }
    place: AbstractContextManager[str | None] = (
        _spill() if on_disk and cuts is not None else nullcontext()
    )
    with place as folder:
        found = _trained(training, rows, left_out, settings, rounds, cuts, early_stopping, folder)
    # Bags run their members side by side, and predict where they are.
    found.set_param({"nthread": 1, "device": "cpu"})
    return found


@contextmanager
def _spill() -> Iterator[str]:
    """Yield a folder for binned records, which is removed with them."""
    beside = limit().spill
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="train-", dir=beside) as folder:
        yield folder


def _trained(
    training: TrainingRows,
    rows: NDArray[np.intp],
    left_out: NDArray[np.intp],
    settings: dict[str, Any],
    rounds: int,
    cuts: xgb.DMatrix | None,
    early_stopping: int | None,
    folder: str | None,
) -> xgb.Booster:
    """Train on binned rows, which are gone when this returns."""
    import xgboost as xgb

    max_bin, threads = int(settings["max_bin"]), int(settings["nthread"])
    data = training.data(rows, max_bin, threads, cuts, folder)
    outcome = training.y[left_out]
    if early_stopping is None or not left_out.size or outcome.min() == outcome.max():
        return xgb.train(settings, data, num_boost_round=rounds)
    if folder is None:
        apart = xgb.DMatrix(**training._batch(left_out), missing=np.nan, nthread=threads)
    else:
        apart = training.data(left_out, max_bin, threads, data, folder)
    found = xgb.train(
        {**settings, "eval_metric": "logloss"},
        data,
        num_boost_round=rounds,
        evals=[(apart, "left_out")],
        early_stopping_rounds=early_stopping,
        verbose_eval=False,
    )
    kept = found[: found.best_iteration + 1]
    kept.set_attr(best_iteration=None, best_score=None)  # one form, however it was trained
    return kept


@cache
def has_cuda() -> bool:
    """Return whether XGBoost finds a graphics processor: asked to use one, does it?"""
    import xgboost as xgb

    if not xgb.build_info().get("USE_CUDA"):
        return False
    data = xgb.DMatrix(np.zeros((2, 1), np.float32), label=np.array([0.0, 1.0]))
    try:
        tried = xgb.train({"device": "cuda", "verbosity": 0}, data, num_boost_round=1)
    except xgb.core.XGBoostError:
        return False
    device = json.loads(tried.save_config())["learner"]["generic_param"]["device"]
    return str(device).startswith("cuda")
