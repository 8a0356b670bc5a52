"""What the experiments share: noise of measurements, odds ratios, cohorts without a drug."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from magml.simulation.cohorts import Cohort
from magml.simulation.parameters import Parameters
from magml.simulation.people import AGENTS, Exposures, Floats
from magml.simulation.physiology import simulate_physiology

#: Name, published, simulated, least and most accepted, source.
Found = Iterator[tuple[str, str, float, float, float, str]]
Experiment = Callable[[np.random.Generator, Parameters, int], Found]

#: Retention in percent above which a loading test speaks of depletion (Gullestad 1994).
DEPLETED = 27.5
#: Of one loading test: 8.1 between two, over the root of two (Gullestad 1994). Of one serum
#: value: within a person 2.5%, of the assay 2%, and of the bound 30% by albumin's spread of 7%.
_TEST_SD = 8.1 / 2**0.5
SERUM_CV = (0.025**2 + 0.02**2 + (0.3 * 0.07) ** 2) ** 0.5
MG = 24.305
GULLESTAD = "Gullestad 1994, Scand J Clin Lab Invest 54:23-31"
#: First and last day of what was always taken.
ALWAYS = 10_000


def measured(rng: np.random.Generator, serum: Floats) -> Floats:
    """Return serum as one measurement shows it."""
    return np.asarray(serum * np.exp(rng.normal(0, SERUM_CV, serum.shape)))


def tested(rng: np.random.Generator, retention: Floats) -> Floats:
    """Return retention in percent as one loading test shows it."""
    return np.asarray(100 * retention + rng.normal(0, _TEST_SD, len(retention)))


def odds_ratio(with_: NDArray[np.bool_], without: NDArray[np.bool_]) -> float:
    """Return the odds of the first over those of the second; nan where one is 0."""
    a, b = with_.mean(), without.mean()
    return float(a / (1 - a) / (b / (1 - b))) if 0 < b < 1 and a < 1 else float("nan")


def without(cohort: Cohort, *agents: str) -> Cohort:
    """Return a cohort in which nobody takes some agents."""
    old = cohort.exposures
    keep = ~np.isin(old.agent, [AGENTS.index(agent) for agent in agents])
    kept = Exposures(*(getattr(old, name)[keep] for name in old.__dataclass_fields__))
    return Cohort(cohort.population, cohort.people, kept)


def given(cohort: Cohort, days: int = ALWAYS, /, **doses: float) -> Cohort:
    """Return a cohort in which everybody takes agents at doses, for so many days until now."""
    rows = [
        (person, agent, -days, ALWAYS, dose)
        for agent, dose in doses.items()
        for person in range(cohort.people.n)
    ]
    new, old = Exposures.of(rows), cohort.exposures
    both = {
        name: np.concatenate([getattr(old, name), getattr(new, name)])
        for name in old.__dataclass_fields__
    }
    return Cohort(cohort.population, cohort.people, Exposures(**both))


def serum_of(cohort: Cohort, world: Parameters, days: int = ALWAYS) -> Floats:
    """Return true serum now; of what began `days` ago, the days since are let pass."""
    first = -days - 1 if days < ALWAYS else 0
    return simulate_physiology(
        cohort.people, cohort.exposures, world, 2, first_day=first
    ).last.serum
