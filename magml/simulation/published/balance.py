"""Intake, absorption, urine, and what a near-zero diet does."""

from __future__ import annotations

import numpy as np

from magml.simulation.body import absorbed, bodies
from magml.simulation.cohorts import healthy_adults, with_agent
from magml.simulation.parameters import Parameters
from magml.simulation.people import People
from magml.simulation.physiology import exchangeable, simulate_physiology
from magml.simulation.published.common import MG, Found

_SHILS = "Shils 1964"


def _urine(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    cohort = healthy_adults(rng, world, n)
    state = simulate_physiology(cohort.people, cohort.exposures, world, 2).last
    intake, urine = cohort.people.intake * MG, state.urine * MG
    source = "Nielsen 2016, Magnes Res 29:154-60"
    high = float(np.median(urine[intake > 250]))
    low = float(np.median(urine[intake <= 250]))
    yield "24-h urine above 250 mg/day eaten, mg", "80 to 160", high, 80, 160, source
    yield "24-h urine below 250 mg/day eaten, mg", "40 to 80", low, 40, 80, source
    filtered = world["filterable"] * state.serum * bodies(cohort.people, world).filtrate
    share = float(np.median(100 * state.urine / filtered))
    source = "Elisaf, n = 216 (as cited)"
    yield "fractional excretion, healthy %", "1.8 (0.5 to 4)", share, 0.5, 4.0, source


def _depletion(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    cohort = healthy_adults(rng, world, max(n // 20, 50))
    starving = with_agent(cohort, "diet", 1, 400, 0.03)
    course = simulate_physiology(cohort.people, starving, world, 320)
    ratio = (course.serum / course.serum[0]).mean(axis=1)
    urine = (course.urine / course.urine[0]).mean(axis=1)
    yield "near-zero diet: urine after a week, ratio", "falls in days", urine[7], 0, 0.5, _SHILS
    late = float(course.urine[60].mean())
    source = "renal wasting is told by more than 1 mmol/day (clinlabnavigator)"
    yield "near-zero diet: urine after two months, mmol/d", "below 1", late, 0, 1, source
    yield "near-zero diet: serum after a month, ratio", "falls slowly", ratio[30], 0.7, 1, _SHILS
    low = float(ratio.min())
    yield "near-zero diet: serum's lowest, ratio", "0.25 to 0.33", low, 0.2, 0.45, _SHILS
    pools = exchangeable(course.last, cohort.people, world)
    start = exchangeable(
        simulate_physiology(cohort.people, cohort.exposures, world, 1).last, cohort.people, world
    )
    lost = float(((start.mobilisable - pools.mobilisable) / cohort.people.weight).mean())
    yield "mobilised in deficiency, mmol/kg", "1.7", lost, 1.3, 2.1, "Wallach 1988"


def _gut(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    one = np.ones(1)
    person = People(one, one > 0, one, one, one, one, one)
    for name, meal, published in (
        ("absorbed of the smallest meal, share", 1.5, 0.65),
        ("absorbed of the largest meal, share", 41.5, 0.11),
    ):
        share = float(absorbed(3 * meal * one, person, world, 1.0)[0] / (3 * meal))
        low, high = 0.85 * published, 1.15 * published
        yield name, f"{published}", share, low, high, "Fine 1991, J Clin Invest 88:396-402"


BALANCE = (_urine, _depletion, _gut)
