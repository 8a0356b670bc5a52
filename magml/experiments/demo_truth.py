"""The shipped model of body status against the truth of a simulated hospital."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Filtration below which a loading test is not valid, mL/min/1.73 m2.
VALID = 60.0
#: Variation of one serum value within a person and of the assay.
_SERUM_CV = 0.032
NORMAL = 0.75
MODEL, SERUM, SCORE = "low_body_status, as shipped", "serum measured now", "depletion score"
WEIGHT = "weight alone"
_DIURETICS = ("thiazide", "loop_diuretic", "potassium_sparing_enac", "mineralocorticoid_antagonist")


@dataclass(frozen=True)
class Truth:
    """How well depletion was told.

    Attributes
    ----------
    figures
        `group` (everybody; normal serum), `model`, `n`, `events`, `auroc`, `low`, `high`.
    hidden
        Depleted people with normal serum.
    found, tested
        How many of them are among the `tested` people with normal serum whose risk is highest.
    """

    figures: pd.DataFrame
    hidden: int
    found: int
    tested: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {
            "figures": self.figures.to_dict("records"),
            "hidden": self.hidden,
            "found": self.found,
            "tested": self.tested,
        }

    def summary(self) -> str:
        """Return the figures as text."""
        lines = ["Low body magnesium against a loading test without noise (AUROC, 95% interval)"]
        for row in self.figures.itertuples():
            lines.append(
                f"  {row.group:13} {row.model:27} {row.auroc:.3f} ({row.low:.3f} to {row.high:.3f})"
                f"  n = {row.n}, {row.events} depleted"
            )
        lines.append(
            f"  Of {self.hidden} depleted people with normal serum, {self.found} are among the "
            f"{self.tested} whose risk is highest."
        )
        return "\n".join(lines)


def labels_of(world: Any) -> pd.DataFrame:
    """Return labels of a simulated hospital: whom a loading test would call depleted."""
    truth = world.truth[world.truth["gfr"] >= VALID]
    return truth[["subject_id", "prediction_time"]].assign(boolean_value=truth["depleted"])


def against_truth(world: Any, seed: int, replicates: int = 200) -> Truth:
    """Measure the shipped model and simpler things against the loading test.

    Those are serum, the depletion score, and weight, which goes with retention of a load that is
    the same for everybody.

    Parameters
    ----------
    world : magml.simulation.world.World
        The hospital.
    seed
        Of the serum that is measured in everybody here, and of the resamples.
    replicates
        Resamples of people for the intervals.
    """
    from magml.bundle import load
    from magml.evaluation import evaluate
    from magml.events import read_events

    truth = world.truth[world.truth["gfr"] >= VALID].reset_index(drop=True)
    events = read_events(world.events)
    at = truth[["subject_id", "prediction_time"]]
    scores = load("low_body_status").score(events, at)
    risk = at.merge(scores, on=["subject_id", "prediction_time"], how="left")["risk"].to_numpy()
    noise = np.random.default_rng(seed).normal(0, _SERUM_CV, len(truth))
    serum = truth["serum"].to_numpy() * np.exp(noise)
    points, weight = _depletion_score_and_weight(events, at)
    depleted = truth["depleted"].to_numpy(dtype=np.int8)
    # Ranks are all that AUROC needs; these make a number between 0 and 1 of each.
    risks = {MODEL: risk, SERUM: _share(-serum), SCORE: _share(points),
             WEIGHT: _share(weight)}  # fmt: skip
    normal = serum >= NORMAL
    rows = []
    for group, kept in (("everybody", np.ones(len(truth), bool)), ("normal serum", normal)):
        found = evaluate(
            depleted[kept], {name: values[kept] for name, values in risks.items()},
            groups=truth["subject_id"].to_numpy()[kept], reference=MODEL,
            replicates=replicates, seed=seed,
        )  # fmt: skip
        area = found.metrics[found.metrics["metric"] == "auroc"].set_index("model")
        figures = area[["value", "low", "high"]].astype(float)
        rows += [
            {"group": group, "model": name, "n": int(kept.sum()),
             "events": int(depleted[kept].sum()), "auroc": figures["value"][name],
             "low": figures["low"][name], "high": figures["high"][name]}
            for name in risks
        ]  # fmt: skip
    tested = round(0.2 * int(normal.sum()))
    first = np.argsort(-risk[normal], kind="stable")[:tested]
    return Truth(
        pd.DataFrame(rows), int(depleted[normal].sum()), int(depleted[normal][first].sum()), tested
    )


def _depletion_score_and_weight(
    events: Any, at: pd.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the depletion score, what is not recorded counting as absent, and the last weight."""
    from magml.features import build_features
    from magml.models import magnesium_depletion_score

    diuretics = [f"medication.{name}.active" for name in _DIURETICS]
    ppi, egfr, drinks = (
        "medication.proton_pump_inhibitor.active", "lab.egfr", "diet.drinks_per_day",
    )  # fmt: skip
    female, weight = "demographic.female.last", "vital.weight.last"
    wanted = [*diuretics, ppi, egfr, drinks, female, weight]
    X = build_features(events, at, features=wanted, strict=False)
    points = magnesium_depletion_score(
        diuretic=X[diuretics].max(axis=1).fillna(0), ppi=X[ppi].fillna(0),
        egfr=X[egfr].fillna(95.0), drinks_per_day=X[drinks].fillna(0.0), female=X[female],
    )  # fmt: skip
    kilograms = X[weight].fillna(X[weight].median())
    return np.asarray(points, dtype=np.float64), kilograms.to_numpy(dtype=np.float64)


def _share(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values as the share of people at or below them, strictly between 0 and 1."""
    from scipy.stats import rankdata

    return np.asarray((rankdata(values) - 0.5) / len(values))
