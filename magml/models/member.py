"""Training one booster of a bag on chosen rows of a matrix, without a copy of the matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.definitions.model import Estimator
from magml.errors import InputError

if TYPE_CHECKING:
    import xgboost as xgb

#: Up to so many values each member finds its own cuts; beyond, the members share cuts.
_SMALL = 20_000_000
#: Rows that shared cuts are found on, spread evenly over all: some 300 for each of 64 bins.
_CUT_ROWS = 20_000
#: Values of one batch.
_BATCH = 10_000_000


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

    def data(
        self, rows: NDArray[np.intp], max_bin: int, threads: int, cuts: xgb.DMatrix | None
    ) -> xgb.DMatrix:
        """Return rows as XGBoost takes them; with shared cuts they are binned batch by batch."""
        import xgboost as xgb

        if cuts is None:
            return xgb.DMatrix(**self._batch(rows), missing=np.nan, nthread=threads)
        return xgb.QuantileDMatrix(
            _batches(self, rows), max_bin=max_bin, missing=np.nan, nthread=threads, ref=cuts
        )

    def _batch(self, rows: NDArray[np.intp]) -> dict[str, Any]:
        """Return a copy of rows with outcome and weight."""
        weight = {} if self.weight is None else {"weight": self.weight[rows]}
        return {"data": self.X[rows], "label": self.y[rows], **weight}


def _batches(training: TrainingRows, rows: NDArray[np.intp]) -> xgb.DataIter:
    """Return an iterator over copies of some rows at a time."""
    import xgboost as xgb

    size = max(1, _BATCH // training.X.shape[1])

    class Batches(xgb.DataIter):
        def __init__(self) -> None:
            super().__init__(release_data=True)
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
    """Return XGBoost's parameters."""
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

    Returns
    -------
    xgboost.Booster
    """
    import xgboost as xgb

    max_bin, threads = int(parameters["max_bin"]), int(parameters["nthread"])
    settings = {
        **parameters,
        "base_score": min(max(training.prevalence(rows), 1e-6), 1 - 1e-6),
    }
    data = training.data(rows, max_bin, threads, cuts)
    outcome = training.y[left_out]
    if early_stopping is None or not left_out.size or outcome.min() == outcome.max():
        found = xgb.train(settings, data, num_boost_round=rounds)
        found.set_param({"nthread": 1})  # bags run their members side by side
        return found
    apart = xgb.DMatrix(**training._batch(left_out), missing=np.nan, nthread=threads)
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
    kept.set_param({"nthread": 1})
    return kept
