"""Care in the simulator: visits, samples, what is charted, low values that are treated."""

from __future__ import annotations

import numpy as np
import pytest

from magml.errors import InputError
from magml.simulation.encounters import KINDS, in_force
from magml.simulation.laboratory import PLACES
from magml.simulation.parameters import read_parameters
from magml.simulation.records import DAY_ZERO
from magml.simulation.world import Institution, run_institution, simulate

DAYS = 240
#: Everything is measured, a twentieth of samples is haemolysed and another contaminated.
EVERY = read_parameters().with_values(
    testing=50, haemolysis=0.05, contamination=0.05, replacement=0.9
)


@pytest.fixture(scope="module")
def seen() -> Institution:
    return run_institution(np.random.default_rng(4), EVERY, 1200, DAYS)


def test_nobody_visits_while_in_hospital(seen: Institution) -> None:
    visits = seen.patients.encounters
    stay = np.flatnonzero(visits.kind == KINDS.index("inpatient"))
    assert len(stay) > 100
    for row in stay:
        mine = visits.person == visits.person[row]
        inside = mine & (visits.start > visits.start[row]) & (visits.start < visits.end[row])
        assert not inside.any()


def test_samples_are_drawn_at_visits_and_known_later(seen: Institution) -> None:
    samples, visits = seen.laboratory.samples, seen.patients.encounters
    assert (samples.time >= visits.start[samples.encounter]).all()
    assert (samples.time <= visits.end[samples.encounter]).all()
    assert (samples.known > samples.time).all()
    hours = 24 * (samples.known - samples.time)
    outpatient = samples.place == PLACES.index("outpatient")
    # By the table of turnaround: medians of 5 and 1.6 hours.
    assert np.median(hours[outpatient]) == pytest.approx(5.0, rel=0.15)
    inside = samples.place >= PLACES.index("admission")
    assert np.median(hours[inside]) == pytest.approx(1.6, rel=0.15)


def test_edta_brings_potassium_and_takes_calcium_magnesium_and_phosphatase(
    seen: Institution,
) -> None:
    laboratory = seen.laboratory
    bad = laboratory.samples.contaminated
    assert bad.sum() > 100
    for name, sign in (("potassium", 1), ("calcium", -1), ("alp", -1)):
        values = laboratory.values[name]
        assert sign * (np.median(values[bad]) - np.median(values[~bad])) > 1
    assert np.median(laboratory.magnesium[bad]) < 0.6 * np.median(laboratory.magnesium[~bad])


def test_haemolysis_brings_potassium_and_some_magnesium(seen: Institution) -> None:
    laboratory = seen.laboratory
    broken = laboratory.samples.haemolysed
    for values, gained in ((laboratory.values["potassium"], 0.9), (laboratory.magnesium, 0.06)):
        change = values[broken].mean() - values[~broken & ~laboratory.samples.contaminated].mean()
        assert change == pytest.approx(gained, abs=0.12 if gained > 0.5 else 0.02)


def test_a_low_value_is_treated_and_the_magnesium_acts() -> None:
    found = [
        run_institution(
            np.random.default_rng(4), EVERY.with_values(replacement=share, contamination=0), 1200,
            DAYS,
        )
        for share in (0.0, 0.95)
    ]  # fmt: skip
    assert not found[0].laboratory.treated.parts
    treated = found[1].laboratory.treated_persons()
    assert len(treated) > 40
    plain, helped = (each.course.serum[:, treated] for each in found)
    # Up to the first treatment both are the same; afterwards serum is higher.
    np.testing.assert_array_equal(plain[0], helped[0])
    assert helped[-1].mean() > plain[-1].mean() + 0.005
    others = np.setdiff1d(np.arange(1200), treated)
    np.testing.assert_array_equal(
        found[0].course.serum[:, others], found[1].course.serum[:, others]
    )
    orders = found[1].laboratory.treated.chart()
    lowest = dict.fromkeys(treated, np.inf)
    samples, value = found[1].laboratory.samples, found[1].laboratory.magnesium
    for row in np.flatnonzero(value < 0.70):
        person = samples.person[row]
        if person in lowest:
            lowest[person] = min(lowest[person], samples.known[row])
    # No order before a low result was known.
    assert all(
        start > lowest[person] for person, start in zip(orders.person, orders.start, strict=True)
    )


def test_the_list_of_drugs_misses_some_and_keeps_some_too_long(seen: Institution) -> None:
    courses, n = seen.patients.courses, seen.patients.people.n
    who, when = np.arange(n), np.full(n, DAYS - 1.0)
    mine = courses.take(np.flatnonzero(courses.what == "thiazide"))
    taking = in_force(mine.person, mine.start, mine.stop, who, when) > 0
    listed = seen.drugs.has("thiazide", who, when)
    assert 0.5 < listed[taking].mean() < 0.97
    assert 0 < (listed & ~taking).sum() < 0.2 * listed.sum()


def test_diagnoses_are_coded_after_they_began_and_known_when_the_visit_is_over(
    seen: Institution,
) -> None:
    chart, people = seen.diagnoses, seen.patients.population
    for name in ("heart_failure", "ibd", "known_diabetes"):
        mine = chart.take(np.flatnonzero(chart.what == name))
        assert (mine.start >= people.onset[name][mine.person]).all()
        has = people.onset[name] <= 0
        share = np.isin(np.flatnonzero(has), mine.person).mean()
        assert 0.2 < share < 0.95, (name, share)
    end = seen.patients.encounters.end[chart.encounter]
    assert (chart.known >= end).all()
    assert 0.1 < (chart.known > end + 1).mean() < 0.3


def test_worlds_of_different_splits_share_neither_parameters_nor_people() -> None:
    one, other = (simulate(150, seed=8, world=0, split=s, days=40) for s in ("training", "test"))
    for name in ("gfr", "intake", "serum"):
        assert not set(one.truth[name]) & set(other.truth[name])


def test_true_serum_is_told_at_any_time() -> None:
    world = simulate(60, seed=2, days=50)
    times = [DAY_ZERO + np.timedelta64(h, "h") for h in (0, 30, 50 * 24)]
    found = world.serum_at([1, 2, 60], times)
    np.testing.assert_array_equal(
        found, [world.courses[0, 0], world.courses[1, 1], world.courses[49, 59]]
    )
    assert found[2] == pytest.approx(world.truth["serum"].iloc[59], rel=1e-6)
    with pytest.raises(InputError, match="outside of the records"):
        world.serum_at([61], times[:1])
    with pytest.raises(InputError, match="outside of the records"):
        world.serum_at([1], [DAY_ZERO - np.timedelta64(1, "D")])


def test_losses_name_what_the_main_cause_is() -> None:
    world = simulate(300, seed=6, days=40)
    largest = world.losses.sort_values("mmol_per_day").groupby("subject_id").last()
    truth = world.truth.set_index("subject_id")
    told = truth[truth["main_cause"] != "none"]
    assert len(told) > 100
    assert (largest.loc[told.index, "cause"] == told["main_cause"]).all()
