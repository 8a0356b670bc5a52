"""The loading test: in healthy adults, in adults at high risk, and beside serum."""

from __future__ import annotations

import numpy as np

from magml.simulation.cohorts import healthy_adults, high_risk_adults
from magml.simulation.parameters import Parameters
from magml.simulation.people import Floats
from magml.simulation.physiology import exchangeable, loading_test, simulate_physiology
from magml.simulation.published.common import DEPLETED, GULLESTAD, Found, measured, tested

#: Within a person from day to day, of 24-h urine; food varies by about 40% (unverified).
_URINE_CV = 0.35
_FAN = "Fan 2021, J Nutr 151:2226-35"


def _healthy(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    cohort = healthy_adults(rng, world, n)
    state = simulate_physiology(cohort.people, cohort.exposures, world, 2).last
    retention = tested(rng, loading_test(state, cohort.people, world))
    serum = measured(rng, state.serum)
    yield "retention of a load, healthy, mean %", "6.3", retention.mean(), 4.1, 8.5, GULLESTAD
    yield "retention, SD %", "10.3", retention.std(ddof=1), 9.0, 12.1, GULLESTAD
    top, bottom = (float(np.percentile(retention, share)) for share in (97.5, 2.5))
    yield "retention, 97.5th percentile %", "27.5", top, 21.8, 33.2, GULLESTAD
    yield "retention, 2.5th percentile %", "-19.5", bottom, -25.2, -13.8, GULLESTAD
    r = float(np.corrcoef(retention, serum)[0, 1])
    yield "correlation of retention with serum", "none, n = 88", r, -0.21, 0.21, GULLESTAD
    basal = state.urine * np.exp(rng.normal(0, _URINE_CV, n))
    r = float(np.corrcoef(retention, basal)[0, 1])
    yield "correlation of retention with urine", "none, n = 88", r, -0.21, 0.21, GULLESTAD
    pools = exchangeable(state, cohort.people, world)
    size = float((pools.exchangeable / cohort.people.weight).mean())
    # 15 adults; their spread was not seen, so a fifth is allowed.
    source = "Avioli and Berman 1966, J Appl Physiol"
    yield "exchangeable pool, mmol/kg", "1.77", size, 1.42, 2.12, source


def _high_risk(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    from sklearn.linear_model import LogisticRegression

    from magml.evaluation.discrimination import rank, tally

    n = 4 * n  # an area under the curve of few cases needs many people
    cohort = high_risk_adults(rng, world, 2 * n)
    people = cohort.people
    state = simulate_physiology(people, cohort.exposures, world, 2).last
    depleted = tested(rng, loading_test(state, people, world)) > DEPLETED
    X = np.column_stack([cohort.mds(), people.age, people.female])
    names = (
        "AUROC of depletion score, age, sex",
        "AUROC of serum alone, high risk",
        "normal serum among the depleted %",
    )
    care = "loading test in intensive care (bioline mr04006): 16 of 18"
    if min(len(set(depleted[:n])), len(set(depleted[n:]))) < 2:  # an absurd world
        yield names[0], "0.63", np.nan, 0.50, 0.76, _FAN
        yield names[1], "0.53", np.nan, 0.40, 0.67, _FAN
        yield names[2], "89 (65 to 99)", np.nan, 65, 99, care
        return
    # Fitted on one half, measured on the other.
    fitted = LogisticRegression(C=1e6, max_iter=1000).fit(X[:n], depleted[:n])
    ones = np.ones((1, n))

    def area(risk: Floats) -> float:
        return float(tally(rank(depleted[n:], risk), ones).auroc()[0])

    score = area(fitted.predict_proba(X[n:])[:, 1])
    value = measured(rng, state.serum)
    yield names[0], "0.63", score, 0.50, 0.76, _FAN
    yield names[1], "0.53", area(-value[n:]), 0.40, 0.67, _FAN
    share = 100 * float((value[depleted] >= 0.75).mean())
    yield names[2], "89 (65 to 99)", share, 65, 99, care


def _size(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    """Whether retention goes with the size of healthy people; none of it settled a parameter."""
    cohort = healthy_adults(rng, world, n)
    state = simulate_physiology(cohort.people, cohort.exposures, world, 2).last
    retention = tested(rng, loading_test(state, cohort.people, world))
    women = cohort.people.female
    # Not significant among 88, of whom half are taken to be men: two standard errors.
    gap = float(retention[~women].mean() - retention[women].mean())
    yield "retention, men less women, points", "not significant, n = 88", gap, -4.4, 4.4, GULLESTAD
    load = 0.1 * cohort.people.weight[state.person]
    kept = tested(rng, loading_test(state, cohort.people, world, dose=load, hours=1.0))
    rob = "Rob 1999, J Intern Med 246:373-8 (24 healthy)"
    yield "retention of 0.1 mmol/kg in 1 h, mean %", "-18", kept.mean(), -26.6, -9.4, rob
    yield "retention of 0.1 mmol/kg in 1 h, SD %", "21", kept.std(ddof=1), 16.3, 29.5, rob


LOADING = (_healthy, _high_risk)
SIZE = (_size,)
