"""Patients of a simulated institution: the population, its care, its bodies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from magml.simulation.encounters import Encounters, courses_of_stays, joined, plan_encounters
from magml.simulation.parameters import Parameters
from magml.simulation.people import CONDITIONS, Floats, People
from magml.simulation.physiology import individuals
from magml.simulation.population import Population, Setting, draw_population
from magml.simulation.tables import simulation_table
from magml.simulation.treatment import Courses, plan_treatment


@dataclass(frozen=True)
class Patients:
    """Patients and their courses.

    Attributes
    ----------
    population
        Who they are and what they have.
    courses
        What they are given, take, and go through.
    encounters
        When they come.
    people
        The same people as the physiology takes them.
    site
        Index into the sites of ``care.yaml``, [n].
    """

    population: Population
    courses: Courses
    encounters: Encounters
    people: People
    site: NDArray[np.int64]

    @property
    def onset(self) -> dict[str, Floats]:
        """By condition of the physiology, the day it began, [n]."""
        return {name: self.population.onset[name] for name in self.people.conditions}


def draw_patients(
    rng: np.random.Generator,
    parameters: Parameters,
    n: int,
    days: int,
    setting: Setting = "hospital",
) -> Patients:
    """Return adult patients of an institution, seen over `days` days.

    Parameters
    ----------
    rng
        Generator; each step has a stream of its own, so that one changes no other.
    parameters
        Parameters of the world.
    n, days
        Patients, and days of records.
    setting
        As in `draw_population`.
    """
    streams = rng.spawn(6)
    population = draw_population(n, streams[0], setting)
    courses = plan_treatment(population, streams[1])
    encounters = plan_encounters(population, streams[2], days)
    courses = joined(courses, courses_of_stays(population, encounters, streams[3]))
    shares = np.array([site["share"] for site in simulation_table("care")["sites"].values()])
    site = streams[4].choice(len(shares), n, p=shares / shares.sum())
    people = as_people(streams[5], parameters, population)
    return Patients(population, courses, encounters, people, site.astype(np.int64))


def as_people(rng: np.random.Generator, parameters: Parameters, population: Population) -> People:
    """Return a population as the physiology takes it, with what varies between people."""
    spread = simulation_table("care")["genes"]["spread"]
    people = individuals(
        rng,
        parameters,
        age=population.age,
        female=population.female,
        weight=population.weight,
        height=population.height,
        gfr=population.gfr,
        intake=population.intake,
        conditions={name: population.diseases[name] for name in CONDITIONS},
    )
    return replace(people, genes=np.exp(rng.normal(0, spread, population.n)))
