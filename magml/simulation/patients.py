"""Patients of a simulated institution: who they are, what they have and take, from when to when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magml.simulation.parameters import Parameters
from magml.simulation.people import AGENTS, Exposures, Floats, People
from magml.simulation.physiology import individuals

#: Share of young and of old patients that ever get an agent; those of an institution, so more
#: than in a survey. Set by judgement, not by data.
_AGENTS: dict[str, tuple[float, float]] = {
    "ppi": (0.08, 0.38), "h2_blocker": (0.03, 0.08), "thiazide": (0.03, 0.28),
    "loop": (0.01, 0.22), "k_sparing": (0.01, 0.10), "sglt2": (0.01, 0.05),
    "metformin": (0.02, 0.12), "insulin": (0.02, 0.08), "digoxin": (0.002, 0.03),
    "beta_agonist": (0.05, 0.08), "laxative": (0.02, 0.10), "calcineurin": (0.01, 0.01),
    "cisplatin": (0.005, 0.01), "anti_egfr": (0.002, 0.006), "supplement": (0.03, 0.08),
}  # fmt: skip
_CONDITIONS: dict[str, tuple[float, float]] = {
    "diabetes": (0.05, 0.30), "alcohol_use": (0.09, 0.06), "chronic_diarrhoea": (0.03, 0.05),
    "celiac": (0.01, 0.01), "ibd": (0.02, 0.02), "bariatric": (0.015, 0.01),
    "pancreatic_insufficiency": (0.005, 0.015), "malnutrition": (0.01, 0.04),
    "hyperparathyroidism": (0.005, 0.015),
}  # fmt: skip
#: Drugs that follow a diagnosis.
_OF_DIABETES = ("metformin", "insulin", "sglt2")
_CYCLES, _WEEKS = 5, 21


@dataclass(frozen=True)
class Patients:
    """Patients and their courses.

    Attributes
    ----------
    people, exposures
        As the physiology takes them.
    onset
        By condition, the day it began, [n].
    drinks
        Drinks a day, [n].
    site
        Index of the site, int [n].
    """

    people: People
    exposures: Exposures
    onset: dict[str, Floats]
    drinks: Floats
    site: NDArray[np.int64]


def draw_patients(
    rng: np.random.Generator, parameters: Parameters, n: int, days: int, sites: int = 4
) -> Patients:
    """Return adult patients of an institution, seen over `days` days.

    Parameters
    ----------
    rng
        Generator.
    parameters
        Parameters of the world.
    n, days, sites
        Patients, days of records, and sites.
    """
    age = np.clip(18 + rng.gamma(4.2, 9.5, n), 18, 95)
    older = np.clip((age - 20) / 65, 0, 1)
    female = rng.random(n) < 0.53
    height = np.where(female, 162.0, 176.0) + rng.normal(0, 7, n)
    weight = np.clip(np.where(female, 75.0, 88.0) * np.exp(rng.normal(0, 0.22, n)), 38, 200)
    gfr = np.clip(115 - 0.78 * np.maximum(age - 20, 0) + rng.normal(0, 16, n), 10, 150)
    intake = np.where(female, 256.0, 338.0) / 24.305 * np.exp(rng.normal(-0.08, 0.36, n))
    conditions = {
        name: rng.random(n) < young + (old - young) * older
        for name, (young, old) in _CONDITIONS.items()
    }
    onset = {name: rng.uniform(-3000, 0.8 * days, n) for name in conditions}
    people = individuals(
        rng, parameters, age=age, female=female, weight=weight, height=height, gfr=gfr,
        intake=intake, conditions=conditions,
    )  # fmt: skip
    rows: list[tuple[NDArray[np.int64], ...]] = []
    doses: list[Floats] = []
    for name, (young, old) in _AGENTS.items():
        share = young + (old - young) * older
        if name in _OF_DIABETES:
            share = np.where(conditions["diabetes"], np.minimum(6 * share, 0.7), 0.0)
        for who, start, stop in _courses(rng, name, np.flatnonzero(rng.random(n) < share), days):
            rows.append((who, np.full(len(who), AGENTS.index(name)), start, stop))
            low, high = (4.0, 12.0) if name == "supplement" else (0.6, 1.5)
            doses.append(
                np.ones(len(who)) if name in ("cisplatin",) else rng.uniform(low, high, len(who))
            )
    person, agent, start, stop = (np.concatenate(part) for part in zip(*rows, strict=True))
    order = np.lexsort((start, agent, person))
    drinks = np.where(conditions["alcohol_use"], rng.gamma(4, 1.2, n), rng.gamma(0.6, 0.8, n))
    return Patients(
        people,
        Exposures(
            person=person[order],
            agent=agent[order],
            start=start[order],
            stop=stop[order],
            dose=np.concatenate(doses)[order],
        ),
        onset,
        drinks,
        rng.integers(0, sites, n),
    )


def _courses(
    rng: np.random.Generator, name: str, who: NDArray[np.int64], days: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Return courses of an agent in those who ever get it: cycles, or starts with stops."""
    if name == "cisplatin":
        first = rng.integers(-90, days, len(who))
        return [
            (who, first + _WEEKS * cycle, first + _WEEKS * cycle + 1) for cycle in range(_CYCLES)
        ]
    start = rng.integers(-1200, days, len(who))
    length = np.maximum(rng.exponential(900.0, len(who)), 10).astype(np.int64)
    stop = start + length
    # A third of those who stop begin again some months later.
    again = rng.random(len(who)) < 0.33
    gap = rng.integers(20, 200, len(who))
    second = (who[again], (stop + gap)[again], (stop + gap + length)[again])
    return [(who, start, stop), second]
