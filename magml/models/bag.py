"""Bagged XGBoost: boosters on patient-level subsamples, averaged on the log-odds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.definitions.model import Estimator
from magml.errors import BundleError, CohortError, InputError, MagmlError
from magml.memory import limit
from magml.models.leaves import with_people_in_leaves
from magml.models.member import TrainingRows, booster_parameters, fit_member
from magml.models.parts import by_parts
from magml.models.seeds import derive_seed
from magml.models.tree_shap import member_blocks
from magml.models.ubj import check_booster

if TYPE_CHECKING:
    import xgboost as xgb

#: Contributions must sum to the log-odds within this.
TOLERANCE = 1e-5
_BLOCK = 2_000

#: What a look into bytes raises that are no booster.
_NO_BOOSTER = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class Bag:
    """Boosters that are averaged on the log-odds.

    Attributes
    ----------
    boosters
        The members, each trained on its own subsample of people.
    features
        Names of the p columns, in the order of the matrix.
    threads
        Members or blocks of rows computed at once. It never changes a result.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2)).astype(np.float32)
    >>> bag = fit_bag(X, X[:, 0] > 0, range(200), Estimator(members=2, rounds=5), seed=1)
    >>> bag.margins(X).shape, bag.contributions(X[:3]).shape
    ((200, 2), (3, 3))
    """

    boosters: tuple[xgb.Booster, ...]
    features: tuple[str, ...]
    threads: int = 1

    def margins(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return every member's log-odds.

        Parameters
        ----------
        X
            Matrix, shape (n, p), columns as in `features`; NaN is missing.

        Returns
        -------
        numpy.ndarray
            Shape (n, K), float64.

        Raises
        ------
        InputError
            If the number of columns differs.
        """
        matrix = self._checked(X)
        blocks = [matrix[start : start + _BLOCK] for start in range(0, len(matrix), _BLOCK)]
        found = self._map(partial(_margins, self.boosters), blocks)
        return np.concatenate(found) if found else np.zeros((0, len(self.boosters)))

    def margin(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the mean of the members' log-odds, float64, shape (n,)."""
        return self.margins(X).mean(axis=1)

    def contributions(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return exact SHAP values of the mean log-odds, the base in the last column.

        They are the mean of the members' tree SHAP values (path-dependent), which are the
        Shapley values of the mean.

        Parameters
        ----------
        X
            Matrix, shape (n, p).

        Returns
        -------
        numpy.ndarray
            Shape (n, p + 1), float64; each row sums to its log-odds within 1e-5.

        Raises
        ------
        MagmlError
            If a row does not sum to its log-odds even when computed in smaller parts.
        """
        matrix = self._checked(X)
        values = np.zeros((len(matrix), len(self.features) + 1))
        margin = np.zeros(len(matrix))
        for block, members, log_odds in member_blocks(self.boosters, matrix, self.threads):
            values[block] = members.mean(axis=0, dtype=np.float64)
            margin[block] = log_odds.mean(axis=1)
        off = np.abs(values.sum(axis=1) - margin) > TOLERANCE
        if off.any():
            values[off] = self._by_parts(matrix[off])
        return values

    def to_bytes(self) -> tuple[bytes, ...]:
        """Return each member as UBJ, the same bytes for the same training."""
        return tuple(bytes(booster.save_raw("ubj")) for booster in self.boosters)

    @classmethod
    def from_bytes(
        cls, members: Sequence[bytes], features: Sequence[str], *, threads: int = 1
    ) -> Bag:
        """Return the bag whose members were saved by :meth:`to_bytes`.

        Raises
        ------
        BundleError
            If a member is not a booster, or has another number of columns.
        """
        import xgboost as xgb

        if not members:
            raise BundleError("a bag without members", "at least one booster", "train again")
        boosters = []
        for number, data in enumerate(members):
            try:
                check_booster(data)
                booster = xgb.Booster({"nthread": 1}, model_file=bytearray(data))
            except (*_NO_BOOSTER, xgb.core.XGBoostError) as error:
                raise BundleError(
                    f"member {number} of the bag is not a readable booster",
                    "a booster saved as UBJ",
                    "train the model again or restore the bundle",
                ) from error
            if booster.num_features() != len(features):
                raise BundleError(
                    f"member {number} of the bag has {booster.num_features()} columns",
                    f"{len(features)} columns, as the feature schema says",
                    "use the bundle as it was written",
                )
            boosters.append(booster)
        return cls(tuple(boosters), tuple(features), threads)

    def _checked(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return X as a float32 matrix with the columns that are expected."""
        matrix = np.ascontiguousarray(X, dtype=np.float32)
        if matrix.ndim != 2 or matrix.shape[1] != len(self.features):
            raise InputError(
                f"a matrix of shape {matrix.shape}",
                f"two dimensions and {len(self.features)} columns",
                "build the features with the catalogue the model was trained with",
            )
        return matrix

    def _map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return the function of each item, in order, `threads` at once."""
        if self.threads == 1 or len(items) == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(min(self.threads, len(items))) as pool:
            return list(pool.map(function, items))

    def _by_parts(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return contributions summed in float64 over short runs of trees."""
        values, margin = by_parts(self.boosters, matrix)
        off = np.abs(values.sum(axis=1) - margin)
        if off.max() > TOLERANCE:
            raise MagmlError(
                f"the contributions of {int((off > TOLERANCE).sum())} rows differ from their "
                f"log-odds by up to {off.max():.1e}",
                f"a difference below {TOLERANCE:.0e}",
                "report this as a defect with the versions of magml and xgboost",
            )
        return values


def fit_bag(
    X: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike,
    estimator: Estimator,
    *,
    seed: int,
    weights: ArrayLike | None = None,
    threads: int | None = None,
    features: Sequence[str] | None = None,
    monotone: Mapping[str, int] | None = None,
    rows: NDArray[np.bool_] | None = None,
    memory: int | None = None,
) -> Bag:
    """Train a bag of boosters, each on a subsample of people without replacement.

    Parameters
    ----------
    X
        Matrix, shape (n, p); NaN is missing.
    y
        Outcome, 0 or 1 (a probability between them is allowed), shape (n,).
    groups
        Person of each row, shape (n,); a person is in or out as a whole.
    estimator
        Number of members, share of people, rounds and booster parameters.
    seed
        Every member derives its own from it.
    weights
        Weights of rows, not negative, shape (n,).
    threads
        Members trained at once, and where they are fewer, threads within them; default 1. The
        result has the same bytes for any number.
    features
        Names of the columns; default ``f0``, ``f1``, ...
    monotone
        Column name to +1 (risk may only rise with it) or -1 (only fall).
    rows
        Rows to train on, shape (n,); default all. The others cost no memory.
    memory
        Bytes that training may take, `X` included unless it is mapped from a file; default what
        `magml.memory` allows. Members are then trained fewer at once, and a matrix of more than
        20 million values that does not fit is binned on disk, with the same trees.

    Returns
    -------
    Bag

    Raises
    ------
    CohortError
        If `y` has one class only.
    InputError
        If shapes do not fit, a constraint names an unknown column, or the estimator asks for a
        graphics processor and there is none.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 1)).astype(np.float32)
    >>> one = fit_bag(X, X[:, 0] > 0, range(100), Estimator(members=2, rounds=3), seed=1)
    >>> two = fit_bag(X, X[:, 0] > 0, range(100), Estimator(members=2, rounds=3), seed=1, threads=2)
    >>> one.to_bytes() == two.to_bytes()
    True
    """
    matrix = np.ascontiguousarray(X, dtype=np.float32)
    outcome = np.asarray(y, dtype=np.float32)
    group = np.asarray(groups)
    weight = None if weights is None else np.asarray(weights, dtype=np.float32)
    lengths = {len(outcome), len(group), *(() if weight is None else (len(weight),))}
    if matrix.ndim != 2 or lengths != {len(matrix)}:
        raise InputError(
            f"a matrix of shape {matrix.shape} with {sorted(lengths)} outcomes, people or weights",
            "one outcome, person and weight for each row of the matrix",
            "pass arrays of equal length",
        )
    pool = np.arange(len(outcome)) if rows is None else np.flatnonzero(rows)
    if not len(pool) or outcome[pool].min() == outcome[pool].max():
        raise CohortError(
            f"{len(pool)} training rows of one class only",
            "rows with and without the outcome",
            "check the outcome's threshold and the cohort",
        )
    names = tuple(features) if features is not None else tuple(_default_names(matrix.shape[1]))
    workers = max(1, threads or 1)
    training = TrainingRows(matrix, outcome, weight)
    room = limit().size if memory is None else memory
    room -= 0 if isinstance(matrix.base, np.memmap) else matrix.nbytes
    each = training.binned(len(pool))
    at_once = min(workers, estimator.members, max(1, room // each))
    if estimator.device == "cuda":
        at_once = 1
    parameters = booster_parameters(estimator, names, monotone, workers // at_once)
    _, person = np.unique(group[pool], return_inverse=True)
    train = partial(
        _fit_member,
        training,
        pool,
        person,
        estimator,
        parameters=parameters,
        cuts=training.cuts(pool, int(parameters["max_bin"]), workers),
        seed=seed,
        on_disk=each > room,
    )
    if at_once == 1:
        boosters = [train(number) for number in range(estimator.members)]
    else:
        with ThreadPoolExecutor(at_once) as executor:
            boosters = list(executor.map(train, range(estimator.members)))
    return Bag(tuple(boosters), names, workers)


def _default_names(columns: int) -> list[str]:
    return [f"f{number}" for number in range(columns)]


def _fit_member(
    training: TrainingRows,
    pool: NDArray[np.intp],
    person: NDArray[np.intp],
    estimator: Estimator,
    number: int,
    *,
    parameters: dict[str, Any],
    cuts: xgb.DMatrix | None,
    seed: int,
    on_disk: bool,
) -> xgb.Booster:
    """Train one member on its people among the rows of `pool`."""
    chosen = _member_rows(
        training.y[pool], person, estimator.subsample_people, derive_seed(seed, "people", number)
    )
    own = pool[chosen]

    def fit(settings: dict[str, Any]) -> xgb.Booster:
        return fit_member(
            training,
            own,
            pool[~chosen],
            settings,
            estimator.rounds,
            cuts=cuts,
            early_stopping=estimator.early_stopping,
            on_disk=on_disk,
        )

    return with_people_in_leaves(
        fit,
        {**parameters, "seed": derive_seed(seed, "member", number)},
        training.X,
        own,
        person[chosen],
        training.weight is not None,
    )


def _member_rows(
    y: NDArray[np.float32], person: NDArray[np.intp], share: float, seed: int
) -> NDArray[np.bool_]:
    """Return which rows belong to a share of people, drawn again while all are of one class."""
    people = int(person.max()) + 1
    wanted = min(people, max(1, math.ceil(share * people)))
    rng = np.random.default_rng(seed)
    for _ in range(20):
        chosen = np.zeros(people, dtype=bool)
        chosen[rng.permutation(people)[:wanted]] = True
        rows = chosen[person]
        if y[rows].min() != y[rows].max():
            return rows
    return np.ones(len(y), dtype=bool)


def _margins(boosters: Sequence[xgb.Booster], matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return every member's log-odds from one DMatrix: for a single row a third of the time that
    a call of `inplace_predict` for each member takes, and the same bits."""
    import xgboost as xgb

    data = xgb.DMatrix(matrix, missing=np.nan, nthread=1)
    found = [b.predict(data, output_margin=True, validate_features=False) for b in boosters]
    return np.stack(found, axis=1).astype(np.float64)
