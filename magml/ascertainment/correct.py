"""Raw and corrected figures side by side, for everybody who could have been tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.ascertainment.nuisance import (
    Columns,
    Learner,
    cross_fitted,
    make_learner,
    prepare_columns,
    with_column,
)
from magml.ascertainment.problem import Problem, choose_columns, folds_of
from magml.ascertainment.robust import ROBUST, RobustMeasurer, robust_measurer, stand_ins
from magml.ascertainment.tables import NO_THRESHOLD, Key, figures_table, sensitivity_table
from magml.ascertainment.weights import Diagnostics, balance, diagnose, inverse_weights
from magml.definitions.experiment import Ascertainment
from magml.errors import CohortError, InputError
from magml.evaluation.bootstrap import Bootstrap
from magml.evaluation.measures import Measurer
from magml.models.seeds import derive_seed

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
#: The three ways in which each figure is estimated.
RAW, WEIGHTED, ROBUSTLY = "raw", "weighted", "robust"
ESTIMATES = (RAW, WEIGHTED, ROBUSTLY)
PREVALENCE, NET_BENEFIT = "prevalence", "net_benefit"


@dataclass(frozen=True, eq=False)
class Correction:
    """What the measured tell about everybody who could have been measured.

    Attributes
    ----------
    target, tested, events
        Rows of the target population, those measured, and those measured with the outcome.
    groups
        Groups (people or sites) that were resampled.
    table
        `model`, `metric` (names of `magml.evaluation.METRICS`, ``prevalence`` without a model,
        or ``net_benefit`` with its `threshold`); for each of ``raw``, ``weighted`` and
        ``robust``: `raw`, `raw_low`, `raw_high` and so on; `target`, `n`, `events`.
    sensitivity
        `model`, `metric`, `threshold`, `odds_ratio`, `value`, `low`, `high`: the doubly robust
        figure if the unmeasured had so many times the odds of the outcome that measured people
        with the same records have.
    balance
        As :func:`magml.ascertainment.weights.balance` returns it.
    diagnostics
        Of the weights.
    settings
        What was asked for.
    level
        Coverage of the intervals.
    seed
        Seed of folds and resamples.
    """

    target: int
    tested: int
    events: int
    groups: int
    table: pd.DataFrame
    sensitivity: pd.DataFrame
    balance: pd.DataFrame
    diagnostics: Diagnostics
    settings: Ascertainment
    level: float
    seed: int

    def value(
        self, metric: str, model: str | None = None, estimate: str = ROBUSTLY
    ) -> tuple[float, float, float]:
        """Return one figure with its interval.

        Parameters
        ----------
        metric
            ``prevalence``, or a metric's name.
        model
            A model's name; default the first.
        estimate
            ``raw``, ``weighted`` or ``robust``.

        Raises
        ------
        InputError
            If there is no such figure.
        """
        rows = self.table[self.table["metric"] == metric]
        if metric != PREVALENCE and len(rows):
            rows = rows[rows["model"] == (rows["model"].iloc[0] if model is None else model)]
        if not len(rows) or estimate not in ESTIMATES:
            raise InputError(
                f"no figure {estimate} {metric} of {model or 'the model'}",
                f"one of {', '.join(ESTIMATES)}; a metric of {', '.join(ROBUST)} or {PREVALENCE}",
                "correct the name",
            )
        row = rows.iloc[0]
        return tuple(float(row[f"{estimate}{end}"]) for end in ("", "_low", "_high"))  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-safe values."""
        from magml.ascertainment.words import describe

        return {
            "target": self.target,
            "tested": self.tested,
            "events": self.events,
            "groups": self.groups,
            "level": self.level,
            "seed": self.seed,
            "settings": self.settings.model_dump(mode="json"),
            "diagnostics": self.diagnostics.to_dict(),
            "words": list(describe(self)),
            "figures": _plain_rows(self.table),
            "sensitivity": _plain_rows(self.sensitivity),
            "balance": _plain_rows(self.balance),
        }


def correct(
    X: ArrayLike,
    tested: ArrayLike,
    labels: ArrayLike,
    risks: Mapping[str, ArrayLike],
    *,
    persons: ArrayLike,
    names: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    thresholds: Sequence[float] = (),
    settings: Ascertainment | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Correction:
    """Estimate figures in everybody who could have been measured, from those who were.

    A model of who is measured gives each measured person a weight (the inverse of the chance of
    being measured); a model of the outcome says what would have been found in the others. The
    weighted figures rest on the first, the doubly robust ones on either. Both models are
    cross-fitted by person and fitted again in every resample. Both are right only if what
    decided about testing stands in the columns; `sensitivity` says what follows if not.

    Parameters
    ----------
    X
        What was recorded of everybody of the target population before the test, shape (n, p);
        NaN is missing.
    tested
        Who was measured, shape (n,).
    labels
        Outcomes, 0 or 1, shape (n,); NaN or anything for people who were not measured.
    risks
        Predicted risks of everybody by the name of the model, shape (n,), by models that saw
        nobody whom they predict.
    persons
        Person of each row, shape (n,): folds keep people together.
    names
        Names of the columns of X.
    groups
        What is resampled, shape (n,); default the persons.
    thresholds
        Of the net benefit.
    settings
        As in an experiment's key ``ascertainment``.
    seed, level
        Seed of folds and resamples, coverage of the intervals.

    Returns
    -------
    Correction

    Raises
    ------
    InputError
        If lengths differ, a risk is missing, or everybody was measured.
    CohortError
        If a fold leaves nothing to learn from.

    Examples
    --------
    Half are measured, those with a high value more often: the raw prevalence is too high.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=400)
    >>> y = rng.random(400) < 1 / (1 + np.exp(1 - x))
    >>> tested = rng.random(400) < 1 / (1 + np.exp(-x))
    >>> found = correct(
    ...     x[:, None], tested, np.where(tested, y, np.nan), {"model": np.full(400, 0.3)},
    ...     persons=range(400), settings=Ascertainment(replicates=20),
    ... )
    >>> found.value("prevalence", estimate="raw")[0] > found.value("prevalence")[0]
    True
    """
    from threadpoolctl import threadpool_limits

    chosen = settings or Ascertainment()
    problem = Problem.of(X, tested, labels, risks, persons, names, groups, thresholds)
    # One thread: sums of linear algebra depend on their number.
    with threadpool_limits(1, user_api="blas"):
        return _Corrector(problem, chosen, seed, level).run()


class _Corrector:
    """Holds what all resamples share."""

    def __init__(self, problem: Problem, settings: Ascertainment, seed: int, level: float) -> None:
        self.problem, self.settings, self.seed, self.level = problem, settings, seed, level
        p, t = problem, problem.tested
        # Folds spread the rarest of three: measured with and without the outcome, and unmeasured.
        fold = folds_of(p, settings.folds, derive_seed(seed, "ascertainment"))
        kept = choose_columns(p.matrix, t, p.events, settings.most_columns)
        self.names = tuple(p.names[place] for place in kept)
        self.columns: Columns = prepare_columns(p.matrix[:, kept], fold, p.persons)
        self.robust: dict[str, RobustMeasurer] = {
            name: robust_measurer(risk, p.thresholds) for name, risk in p.risks.items()
        }
        first = next(iter(self.robust.values()))
        self.outcome_columns: Columns = with_column(self.columns, first.log_odds)
        everybody = np.ones(len(t), dtype=bool)
        place = derive_seed(seed, "learners")
        self.testing: Learner = make_learner(settings.model, self.columns, t, everybody, place)
        self.finding: Learner = make_learner(
            settings.model, self.outcome_columns, p.events, t, place
        )
        ones = np.ones(int(t.sum()))
        cuts = p.thresholds if p.thresholds.size else np.array([0.5])
        self.plain = {
            name: Measurer(p.events[t], risk[t], ones, cuts) for name, risk in p.risks.items()
        }

    def run(self) -> Correction:
        p, settings = self.problem, self.settings
        ones = np.ones(len(p.tested))
        chance, expected = self._nuisances(ones)
        weights = inverse_weights(chance, p.tested, ones, settings.truncate)
        whole = self._measure(ones, weights, expected)
        parts: list[dict[Key, float]] = []
        draws = Bootstrap(
            p.groups,
            p.events,
            ones,
            replicates=settings.replicates,
            seed=derive_seed(self.seed, "resamples"),
        )
        for block in draws:
            parts += [self._resample(drawn) for drawn in block]
        counts = {"target": len(p.tested), "n": int(p.tested.sum()), "events": int(p.events.sum())}
        compared = balance(self.columns.matrix, self.names, p.tested, weights)
        return Correction(
            target=counts["target"],
            tested=counts["n"],
            events=counts["events"],
            groups=int(p.groups.max()) + 1,
            table=figures_table(whole, parts, counts, self.level),
            sensitivity=sensitivity_table(whole, parts, self.level),
            balance=compared,
            diagnostics=diagnose(chance, p.tested, weights, settings.truncate, compared),
            settings=settings,
            level=self.level,
            seed=self.seed,
        )

    def _nuisances(self, draws: Floats) -> tuple[Floats, Floats]:
        """Return each row's chance of being measured, and its expected outcome."""
        p = self.problem
        everybody = np.ones(len(p.tested), dtype=bool)
        return (
            cross_fitted(self.testing, self.columns, p.tested, everybody, draws),
            cross_fitted(self.finding, self.outcome_columns, p.events, p.tested, draws),
        )

    def _resample(self, draws: Floats) -> dict[Key, float]:
        """Return all figures of one resample, both models fitted again; none where they fail."""
        try:
            chance, expected = self._nuisances(draws)
        except CohortError:
            return {}
        weights = inverse_weights(chance, self.problem.tested, draws, self.settings.truncate)
        return self._measure(draws, weights, expected)

    def _measure(self, draws: Floats, weights: Floats, expected: Floats) -> dict[Key, float]:
        """Return every figure of a sample."""
        p, found = self.problem, {}
        t = p.tested
        both = np.vstack([draws[t], (draws * weights)[t]])
        for place, estimate in enumerate((RAW, WEIGHTED)):
            found[estimate, "", PREVALENCE, NO_THRESHOLD, 1.0] = float(
                (both[place] * p.events[t]).sum() / both[place].sum()
            )
        for name, measurer in self.plain.items():
            measured = measurer.measure(both)
            for place, estimate in enumerate((RAW, WEIGHTED)):
                for metric in ROBUST:
                    value = float(measured.metrics[metric][place])
                    found[estimate, name, metric, NO_THRESHOLD, 1.0] = value
                for cut, value in zip(p.thresholds, measured.net_benefit[place], strict=False):
                    found[estimate, name, NET_BENEFIT, float(cut), 1.0] = float(value)
        for odds_ratio in self.settings.odds_ratios:
            stand_in = stand_ins(p.events, t, weights, expected, draws, odds_ratio)
            prevalence = float((draws * stand_in).sum() / draws.sum())
            found[ROBUSTLY, "", PREVALENCE, NO_THRESHOLD, odds_ratio] = prevalence
            for name, robust in self.robust.items():
                values, benefits = robust.measure(stand_in, draws)
                for metric, number in values.items():
                    found[ROBUSTLY, name, metric, NO_THRESHOLD, odds_ratio] = number
                for cut, number in zip(p.thresholds, benefits, strict=True):
                    found[ROBUSTLY, name, NET_BENEFIT, float(cut), odds_ratio] = float(number)
        return found


def _plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table as JSON knows it: NaN as None."""
    return [
        {
            str(key): None if isinstance(cell, float) and not np.isfinite(cell) else cell
            for key, cell in row.items()
        }
        for row in table.to_dict(orient="records")
    ]
