"""What the simulator's people are given over the years."""

import numpy as np
import pytest

from magml.simulation.people import AGENTS
from magml.simulation.population import DAYS, Population, draw_population
from magml.simulation.treatment import HISTORY, Courses, plan_treatment


@pytest.fixture(scope="module")
def world() -> tuple[Population, Courses]:
    rng = np.random.default_rng(4)
    people = draw_population(30_000, rng)
    return people, plan_treatment(people, rng)


def on(courses: Courses, name: str, day: int) -> np.ndarray:
    """Return who is on a drug on a day."""
    given = (courses.what == name) & (courses.start <= day) & (courses.stop > day)
    return np.unique(courses.person[given])


@pytest.mark.parametrize("name", ["ppi", "thiazide", "loop", "k_sparing", "insulin"])
def test_as_many_use_a_drug_in_each_year_as_on_day_0(world, name):
    people, courses = world
    users = people.users[name].mean()
    for day in (-365, 0, 500, 1000):
        share = len(on(courses, name, day)) / people.n
        # Gaps take a few from those who use it.
        assert 0.82 * users < share < 1.1 * users, (day, share, users)


def test_users_of_day_0_are_on_it_but_for_gaps(world):
    people, courses = world
    now = on(courses, "ppi", 0)
    assert people.users["ppi"][now].mean() > 0.99  # a few start on that day
    assert len(now) > 0.9 * people.users["ppi"].sum()


def test_drugs_are_stopped_and_taken_up_again(world):
    people, courses = world
    first, last = on(courses, "ppi", 0), on(courses, "ppi", DAYS - 1)
    kept = len(np.intersect1d(first, last)) / len(first)
    assert 0.3 < kept < 0.8
    assert len(np.setdiff1d(last, first)) > 0.2 * len(last)
    inside = courses.what == "ppi"
    counts = np.bincount(courses.person[inside], minlength=people.n)
    assert (counts >= 3).sum() > 100


def test_courses_are_in_order_and_within_bounds(world):
    _, courses = world
    assert (courses.stop > courses.start).all()
    assert courses.start.min() >= HISTORY
    assert courses.start.max() < DAYS
    assert (np.diff(courses.person) >= 0).all()


def test_only_what_acts_on_magnesium_reaches_the_physiology(world):
    _, courses = world
    exposures = courses.exposures()
    acting = np.isin(courses.what.astype(str), AGENTS)
    assert len(exposures.person) == acting.sum()
    assert "beta_blocker" in set(courses.what)
    by_agent = np.bincount(exposures.agent, minlength=len(AGENTS))
    assert by_agent[AGENTS.index("ppi")] == (courses.what == "ppi").sum()


def test_insulin_needs_known_diabetes_and_tacrolimus_a_transplant(world):
    people, courses = world
    given = courses.person[courses.what == "insulin"]
    assert people.diseases["known_diabetes"][given].all()
    given = courses.person[courses.what == "calcineurin"]
    assert people.diseases["transplant"][given].all()


def test_cisplatin_comes_in_cycles_of_three_weeks(world):
    _, courses = world
    cycles = courses.take(np.flatnonzero(courses.what == "cisplatin"))
    assert (cycles.stop - cycles.start == 1).all()
    same = np.diff(cycles.person) == 0
    assert set(np.diff(cycles.start)[same]) == {21}


def test_equal_seeds_give_equal_courses():
    found = []
    for _ in range(2):
        rng = np.random.default_rng(9)
        found.append(plan_treatment(draw_population(500, rng), rng))
    assert np.array_equal(found[0].start, found[1].start)
    assert list(found[0].code) == list(found[1].code)
