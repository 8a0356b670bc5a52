"""Adults as surveys find them: serum, the depletion score, diabetes, drinking."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from magml.simulation.cohorts import outpatients
from magml.simulation.parameters import Parameters
from magml.simulation.people import Floats
from magml.simulation.physiology import simulate_physiology
from magml.simulation.published.common import Found, measured

_CHMS = "Bertinato 2017 (CHMS)"
_JCEM = "NHANES 2003-2018 (J Clin Endocrinol Metab 2024)"
_OWN = "NHANES 2003-2018, counted by magml (docs/sources-nhanes.md)"


def _survey(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    cohort = outpatients(rng, world, 2 * n)
    people = cohort.people
    state = simulate_physiology(people, cohort.exposures, world, 2).last
    serum = measured(rng, state.serum)
    yield "serum, mean mmol/L", "0.85", serum.mean(), 0.82, 0.88, "population mean, unverified"
    yield "serum, SD mmol/L", "0.06 to 0.07", serum.std(), 0.055, 0.075, "unverified"
    low = 100 * float((serum < 0.75).mean())
    yield "serum below 0.75, adults %", "9.5 to 16.6", low, 7.0, 19.0, _CHMS
    r = float(np.corrcoef(serum, people.age)[0, 1])
    # Of 20,438 patients of a hospital: another setting, so a tenth is allowed.
    yield "correlation of serum with age", "0.07", r, -0.03, 0.17, "Warsaw 2020 (PMC7353204)"
    scores = cohort.mds()
    for score, share in enumerate((44.2, 35.8, 14.2, 4.7)):
        found = 100 * float((scores == score).mean())
        name = f"depletion score {score}, adults %"
        yield name, f"{share}", found, share - 5, share + 5, _JCEM
    yield "depletion score, mean", "0.718", float(scores.mean()), 0.668, 0.768, _OWN

    def changed(condition: str) -> Floats:
        """Return the difference a condition makes to who has not got it, everybody else equal."""
        has = people.conditions[condition]
        other = people.conditions | {condition: np.ones(people.n, bool)}
        sick = replace(people, conditions=other)
        then = simulate_physiology(sick, cohort.exposures, world, 2).last
        return np.asarray((then.serum - state.serum)[~has])

    change = float(changed("diabetes").mean())
    source = "CHMS (PMC5372959), adjusted"
    yield "diabetes, change of serum mmol/L", "-0.04 to -0.07", change, -0.075, -0.025, source
    drinking = state.serum + 0.0
    drinking[~people.conditions["alcohol_use"]] += changed("alcohol_use")
    share = 100 * float((measured(rng, drinking) < 0.70).mean())
    # 84 of 753; the cut-off of "low" was not seen and is taken to be 0.70.
    source = "Hernandez-Rubio, first treatment of alcohol use disorder"
    yield "alcohol use disorder, below 0.70 %", "11.2 (9.0 to 13.7)", share, 9.0, 13.7, source


POPULATION = (_survey,)
