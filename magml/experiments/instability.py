"""Prediction instability: how much each risk depends on whom the model happened to learn from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError
from magml.evaluation.checks import SMALL_CELL
from magml.models.seeds import derive_seed
from magml.progress import Report, silent

if TYPE_CHECKING:
    import pandas as pd

    from magml.experiments.study import Study
    from magml.models.fit import FittedModel

#: Fewest refits that are reported: fewer leave the ends of the range to chance.
LEAST_REFITS = 200
_GROUPS = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Instability:
    """How far risks move when the model is refitted on other people.

    Attributes
    ----------
    table : pandas.DataFrame
        Rows of similar risk, ten at least in each: `group`, `n`, `risk` (mean of the model),
        `low`, `high` (mean of each person's 2.5th and 97.5th percentile over the refits), `mape`.
    mape : float
        Mean absolute prediction error: the mean, over people, of the mean absolute difference
        between the refits' risks and the model's.
    changed : dict of float to float
        By decision threshold, the mean share of people who change sides in a refit.
    refits, n : int
        Models refitted, and rows predicted.
    """

    table: pd.DataFrame
    mape: float
    changed: dict[float, float]
    refits: int
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-safe values."""
        return {
            "mape": self.mape,
            "changed": {f"{threshold:g}": share for threshold, share in self.changed.items()},
            "refits": self.refits,
            "n": self.n,
        }


def check_refits(refits: int) -> int:
    """Return a number of refits that is enough to report.

    Raises
    ------
    InputError
        If there are fewer than 200.
    """
    if refits < LEAST_REFITS:
        raise InputError(
            f"{refits} refits for the instability",
            f"at least {LEAST_REFITS}",
            "ask for more; --quick leaves the search out of each and makes them cheap",
        )
    return refits


def prediction_instability(
    study: Study,
    fitted: FittedModel,
    *,
    refits: int,
    seed: int,
    quick: bool,
    threads: int | None = None,
    report: Report = silent,
) -> Instability:
    """Refit the whole pipeline on bootstrap samples of people and compare the risks.

    Each refit repeats what made the model: choice of columns, search (unless `quick`),
    calibration, bag. All predict the same people, those of the cohort.

    Parameters
    ----------
    study
        The study.
    fitted
        The model that is shipped.
    refits
        Number of bootstrap samples.
    seed, quick, threads, report
        As for :func:`magml.experiments.train`.

    Returns
    -------
    Instability

    References
    ----------
    Riley RD, Collins GS. Biom J 2023;65:2200302 (stability of clinical prediction models).
    """
    from threadpoolctl import threadpool_limits

    from magml.experiments.inputs import monotone_features
    from magml.experiments.untested import final_weights
    from magml.models.fit import fit_model

    definitions, rows = study.definitions, study.rows
    place = {name: position for position, name in enumerate(study.matrix.names)}
    matrix = study.matrix.values[:, [place[name] for name in study.features]]
    monotone = monotone_features(definitions.catalogue, definitions.model, study.features)
    weights = final_weights(study, seed)
    predicted = matrix[rows.evaluated]
    risk = fitted.risk(predicted, study.features)

    def refit(number: int) -> Floats:
        drawn = bootstrap_rows(rows.persons, derive_seed(seed, "instability", number))
        model = fit_model(
            matrix[drawn],
            study.features,
            rows.labels[drawn],
            # A person drawn twice stays one person: folds and members never split her.
            rows.persons[drawn],
            study.folds_by[drawn],
            definitions.model,
            seed=derive_seed(seed, "instability", "fit", number),
            quick=quick,
            threads=1,
            weights=None if weights is None else weights[drawn],
            evaluated=rows.evaluated[drawn],
            monotone=monotone,
        )
        return model.risk(predicted, study.features)

    workers = max(1, threads or os.cpu_count() or 1)
    with threadpool_limits(1, user_api="blas"):
        refitted = np.stack(list(_mapped(refit, refits, workers, report)))
    thresholds = definitions.experiment.net_benefit_thresholds
    return summarise(risk, refitted, thresholds)


def bootstrap_rows(persons: NDArray[Any], seed: int) -> NDArray[np.intp]:
    """Return the rows of people drawn with replacement, as many as there are.

    Parameters
    ----------
    persons
        Person of each row, shape (n,).
    seed
        Seed of the draw.

    Examples
    --------
    >>> drawn = bootstrap_rows(np.array([7, 7, 8]), seed=1)
    >>> sorted(set(drawn.tolist()) & {0, 1}) in ([], [0, 1])  # a person comes whole
    True
    """
    _, person = np.unique(persons, return_inverse=True)
    order = np.argsort(person, kind="stable")
    counts = np.bincount(person)
    starts = np.append(0, np.cumsum(counts)[:-1])
    drawn = np.random.default_rng(seed).integers(0, len(counts), len(counts))
    return np.concatenate([order[starts[who] : starts[who] + counts[who]] for who in drawn])


def summarise(risk: Floats, refitted: Floats, thresholds: tuple[float, ...] = ()) -> Instability:
    """Compare the risks of refits with those of the model.

    Parameters
    ----------
    risk
        The model's risks, shape (n,).
    refitted
        The refits' risks of the same rows, shape (b, n).
    thresholds
        Decision thresholds.

    Returns
    -------
    Instability

    Examples
    --------
    >>> found = summarise(np.full(20, 0.2), np.stack([np.full(20, 0.1), np.full(20, 0.4)]), (0.3,))
    >>> round(found.mape, 3), found.changed  # (0.1 + 0.2) / 2; one of two refits changes sides
    (0.15, {0.3: 0.5})
    """
    import pandas as pd

    error = np.abs(refitted - risk).mean(axis=0)
    low, high = np.percentile(refitted, [2.5, 97.5], axis=0)
    groups = max(1, min(_GROUPS, len(risk) // SMALL_CELL))
    rows = [
        {
            "group": number + 1,
            "n": len(inside),
            "risk": float(risk[inside].mean()),
            "low": float(low[inside].mean()),
            "high": float(high[inside].mean()),
            "mape": float(error[inside].mean()),
        }
        for number, inside in enumerate(np.array_split(np.argsort(risk, kind="stable"), groups))
    ]
    changed = {
        threshold: float(((refitted >= threshold) != (risk >= threshold)).mean())
        for threshold in thresholds
    }
    return Instability(pd.DataFrame(rows), float(error.mean()), changed, len(refitted), len(risk))


def plot_instability(found: Instability, path: Path) -> Path:
    """Draw the range of the refits' risks, and their error, against the model's risk.

    Parameters
    ----------
    found
        What to draw: groups of people, never one person.
    path
        PNG to write.
    """
    from magml.evaluation import plot_style as style

    table = found.table
    with style.plot_style():
        figure = style.new_figure(7.6, 7.6)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, 1.0])
        upper.fill_between(table["risk"], table["low"], table["high"], color=style.BLUE, alpha=0.2)
        upper.plot(table["risk"], table["risk"], color=style.BLUE, marker="o", label="the model")
        upper.set_title("Risks when the model is refitted on other people")
        upper.set_ylabel("risk by refits: the band holds 95%")
        lower.plot(table["risk"], table["mape"], color=style.VERMILION, marker="o")
        lower.set_ylim(bottom=0)
        lower.set_ylabel("mean absolute\nprediction error")
        lower.set_xlabel("risk by the model")
        for axes in (upper, lower):
            style.percent_axes(axes, "xy")
        figure.supxlabel(
            f"{found.refits:,} refits on bootstrap samples of people, {found.n:,} rows in "
            f"{len(table)} groups of risk.\n"
            f"Mean absolute prediction error {100 * found.mape:.2f} points of risk.",
            fontsize=9, color="#404040", x=0.01, ha="left",
        )  # fmt: skip
        return style.save(figure, path)


def _mapped(
    refit: Callable[[int], Floats], refits: int, workers: int, report: Report
) -> Iterator[Floats]:
    """Yield the refits in order, several at a time."""
    with ThreadPoolExecutor(workers, thread_name_prefix="magml-refits") as pool:
        for done, risks in enumerate(pool.map(refit, range(refits)), start=1):
            report(done / refits, f"instability: refit {done} of {refits}")
            yield risks
