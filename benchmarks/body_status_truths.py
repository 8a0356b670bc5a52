"""The same people against other truths of the body's magnesium, for `benchmarks/body_status.py`.

Retention of a load that is the same for everybody goes with weight, since stores do. So the models
are held against two more truths: retention of a load that grows with weight, and the share of the
mobilisable pool that is missing, which no load enters. Where a person counts as depleted by those
is fixed beforehand: as many are so in the comparators' training worlds as retain more than 27.5%
of the fixed load. Comparators learn from each truth anew; the shipped model has learned from the
first one alone, so a bag with its settings learns from each as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from magml.models.bag import fit_bag
from magml.models.logistic import choose_strength, fit_logistic
from magml.simulation.world import DEPLETED

if TYPE_CHECKING:
    from body_status import Seen

#: Truth: column of the simulator's table.
TRUTHS = {
    "30 mmol for everybody": "retention",
    "0.1 mmol/kg": "retention_by_weight",
    "share of the pool missing": "depletion",
}
FIRST = next(iter(TRUTHS))
BODY = ("vital.weight", "vital.height", "vital.bmi", "comorbidity.overweight_obesity")
SHIPPED, OWN = "the shipped model", "boosted trees, learned from this truth"
LOGISTIC, THIN = "logistic, learned from this truth", "the same without weight, height, BMI"
SERUM, SCORE = "serum alone, measured today", "depletion score, age, sex"
SIZE, AGE = "weight, age, sex", "age, sex"
CAUSES, NATURE = "bound: causes and flows known", "bound: and nature known"
#: People are compared with others of their tenth of weight.
GROUPS = 10
Scorer = Callable[["Seen"], np.ndarray]


def limits_of(worlds: list[Seen]) -> dict[str, float]:
    """Return above what a person is depleted, by truth, from the comparators' training worlds."""
    truth = pd.concat([world.truth for world in worlds])
    share = float((truth["retention"] > DEPLETED).mean())
    found = {name: float(truth[column].quantile(1 - share)) for name, column in TRUTHS.items()}
    return found | {FIRST: DEPLETED}


def outcome(seen: Seen, truth: str, limit: float) -> np.ndarray:
    """Return who is depleted by a truth."""
    return (seen.truth[TRUTHS[truth]] > limit).to_numpy(dtype=int)


def fit_truths(
    bench: Any, model: Any, worlds: list[Seen], limits: dict[str, float]
) -> dict[str, dict[str, Scorer]]:
    """Return what scores a world, by truth and name."""
    X = np.vstack([model.columns(world.matrix(bench.TODAY)) for world in worlds])
    group = np.concatenate([np.full(len(world.y), k) for k, world in enumerate(worlds)])
    thin = np.array([not name.startswith(BODY) for name in model.features])
    score = np.vstack([bench.score(model, world) for world in worlds])
    size = np.vstack([bench.body(world) for world in worlds])
    found = {}
    for truth, limit in limits.items():
        y = np.concatenate([outcome(world, truth, limit) for world in worlds])

        def logistic(use: np.ndarray, y: np.ndarray = y) -> Scorer:
            kept = use & np.isfinite(X).any(axis=0)
            strength = choose_strength(X[:, kept], y, group, seed=1)
            fitted = fit_logistic(X[:, kept], y, strength=strength)
            return lambda s: fitted(model.columns(s.matrix(bench.TODAY))[:, kept])

        def simple(columns: Scorer, table: np.ndarray, y: np.ndarray = y) -> Scorer:
            fitted = LogisticRegression(max_iter=2000).fit(table, y)
            return lambda s: fitted.decision_function(columns(s))

        bag = fit_bag(
            X, y, np.arange(len(y)), model.definition.estimator, seed=1, features=model.features
        )
        bounds = {
            name: bench.bound(columns, worlds, y)
            for name, columns in ((CAUSES, bench.causes), (NATURE, bench.everything))
        }
        found[truth] = {
            SERUM: lambda s: -s.serum,
            SCORE: simple(lambda s: bench.score(model, s), score),
            AGE: simple(lambda s: bench.body(s)[:, 2:], size[:, 2:]),
            SIZE: simple(bench.body, size),
            SHIPPED: lambda s: bench.bundle(model, s, bench.TODAY),
            OWN: lambda s, b=bag: b.margin(model.columns(s.matrix(bench.TODAY))),
            LOGISTIC: logistic(np.ones(len(thin), bool)),
            THIN: logistic(thin),
            **bounds,
        }
    return found


def measured_truths(
    number: int, seen: Seen, scorers: dict[str, dict[str, Scorer]], limits: dict[str, float]
) -> list[dict[str, Any]]:
    """Return AUROCs of a test world: everybody and normal serum, all pairs and of like weight."""
    weight = seen.nature["weight"].to_numpy()
    cuts = np.quantile(weight, np.arange(1, GROUPS) / GROUPS)
    tenth = np.searchsorted(cuts, weight)
    rows = []
    for truth, own in scorers.items():
        y = outcome(seen, truth, limits[truth])
        for name, scorer in own.items():
            margin = scorer(seen)
            row = {"world": number, "truth": truth, "model": name, "n": len(y),
                   "events": int(y.sum()), "events_normal": int(y[seen.normal].sum())}  # fmt: skip
            for suffix, kept in (("", np.ones(len(y), bool)), ("_normal", seen.normal)):
                row[f"auroc{suffix}"] = roc_auc_score(y[kept], margin[kept])
                row[f"like_weight{suffix}"] = grouped_auroc(y[kept], margin[kept], tenth[kept])
            row["with_weight"] = float(np.corrcoef(_ranks(margin), _ranks(weight))[0, 1])
            rows.append(row)
    return rows


def grouped_auroc(y: np.ndarray, margin: np.ndarray, group: np.ndarray) -> float:
    """Return the share of case and non-case pairs of one group that are ordered rightly.

    Examples
    --------
    >>> y, margin = np.array([0, 1, 0, 1]), np.array([1.0, 2.0, 8.0, 9.0])
    >>> grouped_auroc(y, margin, np.array([0, 0, 1, 1]))
    1.0
    """
    right = pairs = 0.0
    for one in np.unique(group):
        own = y[group == one]
        count = float(own.sum() * (len(own) - own.sum()))
        if count:
            right += count * roc_auc_score(own, margin[group == one])
            pairs += count
    return right / pairs


def truth_tables(rows: list[dict[str, Any]], limits: dict[str, float]) -> str:
    """Return the tables as Markdown."""
    table = pd.DataFrame(rows)
    parts = []
    for truth, limit in limits.items():
        own = table[table["truth"] == truth]
        one = own.groupby("world").first()
        lines = [
            f"**{truth}**, depleted above {100 * limit:.1f}%: {one['events'].sum():,} of "
            f"{one['n'].sum():,} people ({one['events_normal'].sum():,} with normal serum).",
            "",
            "| | everybody | normal serum | everybody, like weight | normal serum, like weight |",
            "|---|---|---|---|---|",
        ]
        for name in own["model"].unique():
            mine = own[own["model"] == name]
            cells = [
                f"{mine[m].mean():.3f} ({mine[m].std():.3f})"
                for m in ("auroc", "auroc_normal", "like_weight", "like_weight_normal")
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    parts.append(_with_weight(table))
    parts.append(_gains(table))
    return "\n\n".join(parts)


def _with_weight(table: pd.DataFrame) -> str:
    found = table.groupby(["truth", "model"], sort=False)["with_weight"].mean()
    said = [f"{found[FIRST, SHIPPED]:.2f} for {SHIPPED}"]
    said += [f"{found[truth, OWN]:.2f} where trees learn from {truth}" for truth in TRUTHS]
    return "Rank correlation of scores with weight, mean over worlds: " + "; ".join(said) + "."


def _gains(table: pd.DataFrame) -> str:
    lines = ["| truth | less | everybody | normal serum | normal serum, like weight |",
             "|---|---|---|---|---|"]  # fmt: skip
    for truth in table["truth"].unique():
        wide = table[table["truth"] == truth].pivot(index="world", columns="model")
        for one, other in ((SHIPPED, SERUM), (SHIPPED, SCORE), (SHIPPED, SIZE), (OWN, SERUM),
                           (OWN, SCORE), (OWN, SIZE)):  # fmt: skip
            cells = []
            for metric in ("auroc", "auroc_normal", "like_weight_normal"):
                gain = wide[metric][one] - wide[metric][other]
                cells.append(f"{gain.mean():+.3f} ({gain.std():.3f}; {int((gain > 0).sum())} of "
                             f"{len(gain)})")  # fmt: skip
            lines.append(f"| {truth} | {one}, less {other} | " + " | ".join(cells) + " |")
    return "Differences, mean (SD over worlds; above 0 in):\n\n" + "\n".join(lines)


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values))
