"""The people of published experiments, drawn as far as their publications describe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from magml.simulation.parameters import Parameters
from magml.simulation.people import AGENTS, Exposures, Floats, People
from magml.simulation.physiology import individuals

Kind = Literal["healthy", "high_risk", "outpatients"]
_MMOL = 1 / 24.305


@dataclass(frozen=True)
class Cohort:
    """People with what they take, and what an examination would find.

    Attributes
    ----------
    people, exposures
        Who, and their courses; long-term ones began before day 0.
    drinks
        Heavy drinking by Fan's definition, bool [n].
    taking
        By agent, who takes it, bool [n].
    """

    people: People
    exposures: Exposures
    drinks: NDArray[np.bool_]
    taking: dict[str, NDArray[np.bool_]]

    def mds(self) -> NDArray[np.int64]:
        """Return the magnesium depletion score of each (Fan 2021)."""
        from magml.models import magnesium_depletion_score

        diuretic = self.taking["thiazide"] | self.taking["loop"] | self.taking["k_sparing"]
        score = magnesium_depletion_score(
            diuretic=diuretic,
            ppi=self.taking["ppi"],
            egfr=self.people.gfr,
            drinks_per_day=np.where(self.drinks, 3.0, 0.5),
            female=self.people.female,
        )
        return np.asarray(score, dtype=np.int64)


def healthy_adults(rng: np.random.Generator, parameters: Parameters, n: int) -> Cohort:
    """Return healthy adults of 18 to 66 years (Gullestad 1994)."""
    age = rng.uniform(18, 66, n)
    return _cohort(rng, parameters, age, rng.random(n) < 0.5, {}, {}, np.zeros(n, bool))


def high_risk_adults(rng: np.random.Generator, parameters: Parameters, n: int) -> Cohort:
    """Return adults at high risk of deficiency, 62 (SD 8) years, 51% men (Fan 2021).

    How many took or had what is not in the abstract; the shares are near those of US adults of
    that age, with fewer of the diseases for which trials turn people away. Heavy drinking by the
    score's definition is commoner than an alcohol use disorder, which alone has an effect.
    """
    age = np.clip(rng.normal(62, 8, n), 40, 85)
    conditions = {
        "diabetes": rng.random(n) < 0.12,
        "alcohol_use": rng.random(n) < 0.03,
        "chronic_diarrhoea": rng.random(n) < 0.01,
    }
    drinks = conditions["alcohol_use"] | (rng.random(n) < 0.10)
    taking = {
        "ppi": rng.random(n) < 0.22,
        "thiazide": rng.random(n) < 0.20,
        "loop": rng.random(n) < 0.05,
        "k_sparing": rng.random(n) < 0.03,
    }
    return _cohort(rng, parameters, age, rng.random(n) < 0.49, conditions, taking,
                   drinks, intake=0.9)  # fmt: skip


def outpatients(rng: np.random.Generator, parameters: Parameters, n: int) -> Cohort:
    """Return adults as a population survey finds them; shares near those of NHANES 2003-2018."""
    age = np.clip(20 + rng.gamma(3.2, 8.6, n), 20, 85)
    older = (age - 20) / 65
    conditions = {
        "diabetes": rng.random(n) < 0.02 + 0.20 * older,
        "alcohol_use": rng.random(n) < 0.05,
        "chronic_diarrhoea": rng.random(n) < 0.02,
        "celiac": rng.random(n) < 0.007,
        "ibd": rng.random(n) < 0.007,
        "bariatric": rng.random(n) < 0.005,
    }
    taking = {
        "ppi": rng.random(n) < 0.02 + 0.17 * older,
        "thiazide": rng.random(n) < 0.01 + 0.19 * older,
        "loop": rng.random(n) < 0.08 * older**2,
        "k_sparing": rng.random(n) < 0.05 * older,
    }
    drinks = conditions["alcohol_use"] | (rng.random(n) < 0.10)
    female = rng.random(n) < 0.52
    return _cohort(rng, parameters, age, female, conditions, taking, drinks)


def with_agent(cohort: Cohort, agent: str, start: int, stop: int, dose: float = 1.0) -> Exposures:
    """Return what a cohort takes, and an agent besides, everybody from `start` to `stop`."""
    n, old = cohort.people.n, cohort.exposures
    code = AGENTS.index(agent)
    return Exposures(
        person=np.concatenate([old.person, np.arange(n)]),
        agent=np.concatenate([old.agent, np.full(n, code)]),
        start=np.concatenate([old.start, np.full(n, start)]),
        stop=np.concatenate([old.stop, np.full(n, stop)]),
        dose=np.concatenate([old.dose, np.full(n, dose)]),
    )


def _cohort(
    rng: np.random.Generator,
    parameters: Parameters,
    age: Floats,
    female: NDArray[np.bool_],
    conditions: dict[str, NDArray[np.bool_]],
    taking: dict[str, NDArray[np.bool_]],
    drinks: NDArray[np.bool_],
    intake: float = 1.0,
) -> Cohort:
    """Return a cohort of these ages; size, kidney and intake follow age and sex.

    Filtration falls by 0.75 mL/min a year past 20 (unverified); intake is 338 and 256 mg/day in US
    men and women (J Acad Nutr Diet 2024, NHANES 2003-2018).
    """
    n = len(age)
    height = np.where(female, 162.0, 176.0) + rng.normal(0, 7, n)
    weight = np.clip(np.where(female, 75.0, 88.0) * np.exp(rng.normal(0, 0.20, n)), 40, 180)
    gfr = np.clip(117 - 0.75 * np.maximum(age - 20, 0) + rng.normal(0, 15, n), 12, 145)
    usual = np.where(female, 256.0, 338.0) * _MMOL * intake * np.exp(rng.normal(-0.05, 0.32, n))
    people = individuals(
        rng, parameters, age=age, female=female, weight=weight, height=height, gfr=gfr,
        intake=usual, conditions=conditions,
    )  # fmt: skip
    codes = [(np.flatnonzero(who), AGENTS.index(name)) for name, who in taking.items()]
    person = np.concatenate([who for who, _ in codes]) if codes else np.zeros(0, np.int64)
    agent = np.concatenate([np.full(len(who), code) for who, code in codes] or [person])
    order = np.lexsort((agent, person))
    return Cohort(
        people,
        Exposures(
            person[order].astype(np.int64),
            agent[order].astype(np.int64),
            np.full(len(person), -10_000, dtype=np.int64),
            np.full(len(person), 10_000, dtype=np.int64),
            np.ones(len(person)),
        ),
        drinks,
        {name: taking.get(name, np.zeros(n, bool)) for name in ("ppi", "thiazide", "loop",
                                                                 "k_sparing")},
    )  # fmt: skip
