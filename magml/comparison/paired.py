"""Paired differences between rungs, and who changes sides of a threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.evaluation.bootstrap import Bootstrap, percentile_interval
from magml.evaluation.checks import SMALL_CELL
from magml.evaluation.discrimination import Ranking, rank, tally
from magml.evaluation.net_benefit import net_benefit_of
from magml.evaluation.overall import brier_terms, log_loss_terms, weighted_mean

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Rung:
    """One rung, laid out once for all resamples."""

    ranking: Ranking
    brier: Floats
    loss: Floats
    cuts: Floats

    def measure(self, weights: Floats) -> Floats:
        """Return AUROC, log loss, Brier and net benefits under b weightings, shape (b, 3 + t)."""
        counted = tally(self.ranking, weights)
        return np.column_stack(
            [
                counted.auroc(),
                weighted_mean(self.loss, weights),
                weighted_mean(self.brier, weights),
                net_benefit_of(counted, self.cuts),
            ]
        )


def paired_tables(
    events: NDArray[np.bool_],
    risks: Mapping[str, Floats],
    groups: NDArray[np.intp],
    steps: Sequence[tuple[str, str]],
    *,
    thresholds: Floats,
    threshold: float,
    replicates: int,
    seed: int,
    level: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare rungs on the same rows and resamples.

    Parameters
    ----------
    events, groups
        Outcome, and what is resampled, shape (n,).
    risks
        Risks by the rung's name, shape (n,).
    steps
        Pairs of rungs: the one that knows more, the one it is compared with.
    thresholds
        Of the net benefit, rising.
    threshold
        At which people are reclassified.
    replicates, seed, level
        Of the bootstrap.

    Returns
    -------
    differences : pandas.DataFrame
        `rung`, `over`, `metric`, `threshold` (of a net benefit), `difference` (the first minus
        the second), `low`, `high`, `n`, `events`.
    reclassified : pandas.DataFrame
        For cases and non-cases apart: `rung`, `over`, `threshold`, `among`, `n`, `up` and `down`
        (how many the first rung puts above and below the threshold and the second does not; NaN
        for 1 to 9), `net_up` (share moved up minus share moved down), `low`, `high`.
    """
    import pandas as pd

    used = [pair for pair in steps if pair[0] in risks and pair[1] in risks]
    laid = {
        name: _Rung(
            rank(events, risk), brier_terms(events, risk), log_loss_terms(events, risk), thresholds
        )
        for name, risk in risks.items()
    }
    moves = {
        pair: (risks[pair[0]] >= threshold).astype(float) - (risks[pair[1]] >= threshold)
        for pair in used
    }
    sides = (("cases", events), ("non-cases", ~events))
    once = np.ones((1, len(events)))
    resampled: dict[str, list[Floats]] = {name: [] for name in laid}
    moved: dict[tuple[tuple[str, str], str], list[Floats]] = {
        (pair, side): [] for pair in used for side, _ in sides
    }
    for block in Bootstrap(groups, events, once[0], replicates=replicates, seed=seed):
        for name, rung in laid.items():
            resampled[name].append(rung.measure(block))
        for pair in used:
            for side, inside in sides:
                moved[pair, side].append(weighted_mean(moves[pair][inside], block[:, inside]))
    whole = {name: rung.measure(once)[0] for name, rung in laid.items()}
    every = {name: np.concatenate(parts) for name, parts in resampled.items()}
    labels = [("auroc", np.nan), ("log_loss", np.nan), ("brier", np.nan)]
    labels += [("net_benefit", float(cut)) for cut in thresholds]
    counts = {"n": len(events), "events": int(events.sum())}
    differences = []
    for first, second in used:
        low, high = percentile_interval(every[first] - every[second], level)
        for place, (metric, cut) in enumerate(labels):
            differences.append(
                {
                    "rung": first,
                    "over": second,
                    "metric": metric,
                    "threshold": cut,
                    "difference": float(whole[first][place] - whole[second][place]),
                    "low": float(low[place]),
                    "high": float(high[place]),
                }
                | counts
            )
    rows = [
        {"rung": pair[0], "over": pair[1], "threshold": threshold, "among": side}
        | _moved(moves[pair][inside], np.concatenate(moved[pair, side]), level)
        for pair in used
        for side, inside in sides
    ]
    return pd.DataFrame(differences), pd.DataFrame(rows)


def _moved(moves: Floats, resampled: Floats, level: float) -> dict[str, float]:
    """Count who moved up and down."""
    low, high = percentile_interval(resampled, level)
    up, down = int((moves > 0).sum()), int((moves < 0).sum())
    return {
        "n": len(moves),
        "up": _count(up),
        "down": _count(down),
        "net_up": float(moves.mean()),
        "low": float(low),
        "high": float(high),
    }


def _count(number: int) -> float:
    return float("nan") if 0 < number < SMALL_CELL else float(number)


def likelihood_tests(
    events: NDArray[np.bool_],
    terms: Mapping[str, Floats],
    persons: NDArray,
    pairs: Sequence[tuple[str, str]],
) -> pd.DataFrame:
    """Test what some terms add to others in unpenalised logistic regressions.

    The larger regression holds the terms of both, so that the smaller one is nested in it
    whatever they share. Rows of one person are not independent: the first row of each counts.

    Parameters
    ----------
    events, persons
        Outcome and person of each row, shape (n,).
    terms
        Columns by name, shape (n, k); gaps are filled by the median and marked.
    pairs
        Names of the terms there, and of those added to them.

    Returns
    -------
    pandas.DataFrame
        `base`, `added`, `statistic` (twice the gain in log-likelihood), `df`, `p`, `n`,
        `events`; NaN where the classes are separated.

    References
    ----------
    Wilks SS. Ann Math Stat 1938;9:60-2.
    """
    import pandas as pd
    from scipy.stats import chi2

    _, first = np.unique(persons, return_index=True)
    rows = []
    for base, added in pairs:
        if base not in terms or added not in terms:
            continue
        y = events[first]
        small = _design(terms[base][first])
        large = _design(np.column_stack([terms[base], terms[added]])[first], small)
        df = len(large) - len(small)
        gain = 2.0 * (_log_likelihood(large, y) - _log_likelihood(small, y)) if df else np.nan
        rows.append(
            {
                "base": base,
                "added": added,
                "statistic": gain,
                "df": df,
                "p": float(chi2.sf(gain, df)) if np.isfinite(gain) else np.nan,
                "n": len(y),
                "events": int(y.sum()),
            }
        )
    return pd.DataFrame(rows, columns=["base", "added", "statistic", "df", "p", "n", "events"])


def _design(columns: Floats, start: Floats | None = None) -> Floats:
    """Return independent, standardised terms, the intercept first, shape (k, n)."""
    found = np.ones((1, len(columns))) if start is None else start
    for column in _complete(columns):
        spread = column.std()
        if spread < 1e-9:
            continue
        wider = np.vstack([found, (column - column.mean()) / spread])
        if np.linalg.matrix_rank(wider, tol=1e-6 * np.sqrt(len(columns))) > len(found):
            found = wider
    return found


def _complete(columns: Floats) -> Iterator[Floats]:
    """Yield each column without gaps, and where its gaps were."""
    for column in columns.T:
        gaps = np.isnan(column)
        yield np.where(gaps, np.median(column[~gaps]) if (~gaps).any() else 0.0, column)
        yield gaps.astype(np.float64)


def _log_likelihood(design: Floats, events: NDArray[np.bool_]) -> float:
    """Return the largest log-likelihood; NaN where there is none."""
    from magml.evaluation.logistic import fitted_risk, logistic_coefficients

    found = logistic_coefficients(design, events, np.ones((1, len(events))))
    if not np.isfinite(found).all():
        return float("nan")
    return float(-log_loss_terms(events, fitted_risk(design, found)[0]).sum())
