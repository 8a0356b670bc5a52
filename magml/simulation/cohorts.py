"""The people of published experiments, drawn as far as their publications describe them.

All come from the one population of the simulator; a cohort is who of it fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from magml.simulation.parameters import Parameters
from magml.simulation.patients import as_people
from magml.simulation.people import AGENTS, Exposures, People
from magml.simulation.population import Population, draw_population
from magml.simulation.treatment import plan_treatment

_LONG = 10_000
_DIURETICS = ("thiazide", "loop", "k_sparing")
#: Diseases of the survey that nobody counts as healthy with.
_HARMLESS = ("smoker", "gout", "known_diabetes")


@dataclass(frozen=True)
class Cohort:
    """People with what they take, and what an examination would find.

    Attributes
    ----------
    population
        Who they are.
    people, exposures
        As the physiology takes them; what is taken on day 0 was always taken and goes on.
    """

    population: Population
    people: People
    exposures: Exposures

    def taking(self, agent: str) -> NDArray[np.bool_]:
        """Return who takes an agent."""
        mine = self.exposures.agent == AGENTS.index(agent)
        return np.isin(np.arange(self.people.n), self.exposures.person[mine])

    def mds(self) -> NDArray[np.int64]:
        """Return the magnesium depletion score of each (Fan 2021)."""
        from magml.models import magnesium_depletion_score

        score = magnesium_depletion_score(
            diuretic=np.any([self.taking(name) for name in _DIURETICS], axis=0),
            ppi=self.taking("ppi"),
            egfr=self.population.egfr,
            drinks_per_day=self.population.drinks,
            female=self.population.female,
        )
        return np.asarray(score, dtype=np.int64)


def healthy_adults(rng: np.random.Generator, parameters: Parameters, n: int) -> Cohort:
    """Return healthy adults of 18 to 66 years without drugs (Gullestad 1994)."""

    def fit(people: Population) -> NDArray[np.bool_]:
        ill = [has for name, has in people.diseases.items() if name not in _HARMLESS]
        using = list(people.users.values())
        healthy = ~np.any([*ill, *using], axis=0) & (people.egfr >= 60)
        return np.asarray(healthy & (people.age <= 66) & (people.bmi < 35))

    return _cohort(rng, parameters, _drawn(rng, n, fit), drugs=False)


def high_risk_adults(rng: np.random.Generator, parameters: Parameters, n: int) -> Cohort:
    """Return adults at high risk of deficiency, 62 (SD 8) years, 51% men (Fan 2021).

    How many took or had what is not in the abstract. They are people of that age and sex of the
    population, without the diseases for which trials turn people away; what makes their risk high
    is taken to be a low intake: the two thirds that eat least.
    """

    def fit(people: Population) -> NDArray[np.bool_]:
        sick = np.any([people.diseases[name] for name in _EXCLUDED], axis=0)
        inside = (people.age >= 40) & (people.age <= 85) & (people.egfr >= 45) & ~sick
        inside &= people.intake < np.quantile(people.intake, 2 / 3)
        # As many of each age and sex as there were, by their share in the population.
        share, edges = np.histogram(people.age[inside], bins=np.arange(40, 90, 5), density=True)
        there = share[np.clip(np.digitize(people.age, edges) - 1, 0, len(share) - 1)]
        wanted = norm.pdf(people.age, 62, 8) / np.maximum(there, 1e-6)
        wanted *= np.where(people.female, 0.49, 0.51)
        top = np.quantile(wanted[inside], 0.99)
        return np.asarray(inside & (rng.random(people.n) * top < wanted))

    return _cohort(rng, parameters, _drawn(rng, n, fit))


_EXCLUDED = (
    "heart_failure", "liver_disease", "ibd", "celiac", "bariatric", "pancreatic_insufficiency",
    "malnutrition", "transplant", "gitelman_like", "chronic_diarrhoea",
)  # fmt: skip


def outpatients(rng: np.random.Generator, parameters: Parameters, n: int) -> Cohort:
    """Return adults of 20 years and older as a population survey finds them."""
    return _cohort(rng, parameters, _drawn(rng, n, lambda people: people.age >= 20))


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


def _drawn(rng: np.random.Generator, n: int, fit: object) -> Population:
    """Return n people of the community who fit, drawn until there are enough."""
    parts: list[Population] = []
    while sum(part.n for part in parts) < n:
        people = draw_population(4 * n, rng)
        parts.append(people.take(np.flatnonzero(fit(people))))  # type: ignore[operator]
    return _together(parts).take(np.arange(n))


def _together(parts: list[Population]) -> Population:
    """Return several populations as one."""
    columns: dict[str, Any] = {}
    for name in Population.__dataclass_fields__:
        values = [getattr(part, name) for part in parts]
        columns[name] = (
            {key: np.concatenate([value[key] for value in values]) for key in values[0]}
            if isinstance(values[0], dict)
            else np.concatenate(values)
        )
    return Population(**columns)


def _cohort(
    rng: np.random.Generator, parameters: Parameters, population: Population, drugs: bool = True
) -> Cohort:
    """Return people in what they have and take on day 0, for ever."""
    people = as_people(rng, parameters, population)
    begun = {name: has & (population.onset[name] <= 0) for name, has in people.conditions.items()}
    people = _with_conditions(people, begun)
    if not drugs:
        return Cohort(population, people, Exposures.of([]))
    given = plan_treatment(population, rng).exposures()
    lasting = np.isin(given.agent, [AGENTS.index(name) for name in _LASTING])
    now = np.flatnonzero((given.start <= 0) & (given.stop > 0) & lasting)
    forever = np.full(len(now), _LONG)
    return Cohort(
        population,
        people,
        Exposures(given.person[now], given.agent[now], -forever, forever, given.dose[now]),
    )


#: What is taken for long; short courses and cycles are not the state of a person.
_LASTING = (
    "ppi", "h2_blocker", "thiazide", "loop", "k_sparing", "sglt2", "calcineurin", "digoxin",
    "insulin", "beta_agonist", "metformin", "supplement",
)  # fmt: skip


def _with_conditions(people: People, conditions: dict[str, NDArray[np.bool_]]) -> People:
    from dataclasses import replace

    return replace(people, conditions=conditions)
