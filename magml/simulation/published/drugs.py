"""What drugs do to serum: everybody of a cohort with the drug against the same without it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from magml.simulation.cohorts import Cohort, outpatients, with_agent
from magml.simulation.parameters import Parameters
from magml.simulation.people import Floats
from magml.simulation.physiology import simulate_physiology
from magml.simulation.published.common import (
    ALWAYS,
    SERUM_CV,
    Found,
    given,
    odds_ratio,
    serum_of,
    without,
)

_PPI = "Kieboom 2015, Am J Kidney Dis"
_DIURETIC = "Kieboom 2018, Pharmacoepidemiol Drug Saf"
_LOW = 0.72


class _Bare:
    """A cohort without the drugs in question: true serum under others, and what is measured."""

    def __init__(self, rng: np.random.Generator, world: Parameters, n: int) -> None:
        cohort = outpatients(rng, world, n)
        self.cohort = without(cohort, "ppi", "h2_blocker", "thiazide", "loop", "k_sparing")
        self.world = world
        self.noise = np.exp(rng.normal(0, SERUM_CV, n))
        self.none = self.serum()

    def serum(self, **doses: float) -> Floats:
        return serum_of(given(self.cohort, **doses), self.world)

    def low(self, serum: Floats) -> NDArray[np.bool_]:
        return np.asarray(serum * self.noise <= _LOW)

    def change(self, agent: str, dose: float = 1.0) -> float:
        return float((serum_of(given(self.cohort, **{agent: dose}), self.world) - self.none).mean())

    def ratio(self, *agents: str, days: int = ALWAYS) -> float:
        taken = given(self.cohort, days, **dict.fromkeys(agents, 1.0))
        return odds_ratio(self.low(serum_of(taken, self.world, days)), self.low(self.none))


def _acid(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    bare = _Bare(rng, world, 2 * n)
    change = bare.change("ppi")
    yield "PPI, change of serum mmol/L", "-0.011", change, -0.022, -0.003, _PPI
    name = "PPI, odds ratio of 0.72 or less"
    yield name, "2.00 (1.36 to 2.93)", bare.ratio("ppi"), 1.36, 2.93, _PPI
    brief, long = (bare.ratio("ppi", days=days) for days in (60, 900))
    yield "PPI for 60 days, odds ratio", "no association", brief, 0.8, 1.6, _PPI
    yield "PPI for 900 days, odds ratio", "2.99 (1.73 to 5.15)", long, 1.73, 5.15, _PPI
    dose = odds_ratio(bare.low(bare.serum(ppi=2.0)), bare.low(bare.serum(ppi=0.5)))
    source = "meta-analysis of 16 studies (PMC6946416)"
    yield "PPI, high against low dose, odds ratio", "2.13 (1.26 to 3.59)", dose, 1.26, 3.59, source
    ratio = bare.ratio("h2_blocker")
    yield "H2 blocker, odds ratio", "2.00 (1.08 to 3.72)", ratio, 1.08, 3.72, _PPI
    both = bare.ratio("ppi", "loop")
    yield "PPI and loop diuretic, odds ratio", "7.22 (1.69 to 30.8)", both, 1.69, 30.8, _PPI


def _diuretics(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    bare = _Bare(rng, world, 2 * n)
    for dose, published, low, high in (
        (0.5, "-0.013", -0.022, -0.004), (1.0, "-0.018", -0.027, -0.009),
    ):  # fmt: skip
        change = bare.change("thiazide", dose)
        yield f"thiazide, {dose:g} DDD, change mmol/L", published, change, low, high, _DIURETIC
    ratio = bare.ratio("thiazide")
    yield "thiazide, odds ratio of 0.72 or less", "3.14 (above 1.67)", ratio, 1.67, 6, _DIURETIC
    for dose, published, low, high in (
        (1.0, "+0.023", 0.004, 0.043), (1.5, "+0.043", 0.023, 0.063),
    ):  # fmt: skip
        change = bare.change("loop", dose)
        yield f"loop diuretic, {dose:g} DDD, change mmol/L", published, change, low, high, _DIURETIC
    both = bare.serum(thiazide=1.0, k_sparing=1.0)
    gained = float((both - bare.serum(thiazide=1.0)).mean())
    # Of 354 people in three groups, SD 0.07: two standard errors are 0.018.
    source = "hypertensives on thiazide or triamterene with it, n = 354"
    yield "potassium-sparing beside thiazide, mmol/L", "+0.07", gained, 0.052, 0.088, source


def _others(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    bare = _Bare(rng, world, 2 * n)
    change = bare.change("sglt2")
    yield "SGLT2 inhibitor, change mmol/L", "+0.04 to +0.10", change, 0.04, 0.10, "Tang 2016"
    share = 100 * float((bare.serum(calcineurin=1.0) * bare.noise < 0.70).mean())
    source = "kidney transplants, first year, n = 236"
    yield "calcineurin inhibitor, below 0.70 %", "40", share, 30, 50, source


def _cycles(
    cohort: Cohort, world: Parameters, days: int, doses: list[tuple[str, int, int, float]]
) -> Floats:
    """Return true serum every week under courses (agent, start, stop, dose), [weeks, n]."""
    taken = cohort
    for agent, start, stop, dose in doses:
        exposures = with_agent(taken, agent, start, stop, dose)
        taken = Cohort(cohort.population, cohort.people, exposures)
    course = simulate_physiology(taken.people, taken.exposures, world, days, record_every=7)
    return course.serum.astype(np.float64)


def _cancer(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    cohort = outpatients(rng, world, n)
    cisplatin = [("cisplatin", 1 + 21 * cycle, 2 + 21 * cycle, 1.0) for cycle in range(5)]
    course = _cycles(cohort, world, 130, cisplatin)
    noise = np.exp(rng.normal(0, SERUM_CV, course.shape))
    nadir = (course * noise).min(axis=0)
    source = "cisplatin cohort, n = 214 (Clin Oncol 2006)"
    share = 100 * float((nadir < 0.70).mean())
    yield "cisplatin, ever below 0.70 %", "43", share, 36, 50, source
    yield "cisplatin, mean nadir mmol/L", "0.68", nadir.mean(), 0.64, 0.74, source
    # Regimens differ; 16 mmol by vein with each cycle and 12 mmol a day by mouth stand for them.
    infused = [("infusion", start, stop, 16.0) for _, start, stop, _ in cisplatin]
    tablets = [("supplement", 1, 130, 12.0)]
    spared = (_cycles(cohort, world, 130, cisplatin + infused + tablets) * noise).min(axis=0)
    ratio = odds_ratio(spared < 0.70, nadir < 0.70)
    source = "24 studies, n = 3,803 (ESMO 2023, 2113P)"
    yield "cisplatin with magnesium, odds ratio", "0.27 (0.16 to 0.45)", ratio, 0.16, 0.45, source
    antibody = _cycles(cohort, world, 150, [("anti_egfr", 1, 150, 1.0)])
    lowest = (antibody * np.exp(rng.normal(0, SERUM_CV, antibody.shape))).min(axis=0)
    share = 100 * float((lowest < 0.70).mean())
    source = "any grade, colorectal to head and neck (EMJ)"
    yield "anti-EGFR antibody, ever below 0.70 %", "30 to 50", share, 25, 60, source


DRUGS = (_acid, _diuretics, _others, _cancer)
