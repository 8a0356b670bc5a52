"""The simulated physiology: balance, direction, published experiments, worlds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from magml.cli.app import app
from magml.errors import InputError
from magml.simulation.body import absorbed, bodies, taken
from magml.simulation.check import check_simulator
from magml.simulation.cohorts import healthy_adults, outpatients, with_agent
from magml.simulation.effects import CAUSES
from magml.simulation.parameters import Parameters, draw_world, read_parameters, table_rows
from magml.simulation.people import AGENTS, Exposures, People
from magml.simulation.physiology import (
    causes,
    exchangeable,
    loading_test,
    retention_by_weight,
    simulate_physiology,
)

WORLD = read_parameters()
NOTHING = Exposures.of([])


def one_person(**change: float) -> People:
    values = {"age": 50, "weight": 70, "height": 170, "gfr": 100, "intake": 12.3, "genes": 1}
    arrays = {name: np.array([float(change.get(name, v))]) for name, v in values.items()}
    return People(female=np.array([True]), **arrays)


def test_absorption_is_the_published_curve() -> None:
    """By hand: meals of 1.5 mmol, 1.7 * 1.5 / (1.5 + 1.5) + 0.07 * 1.5 = 0.955 of 1.5."""
    found = absorbed(np.array([4.5]), one_person(), WORLD, 1.0)
    assert found[0] == pytest.approx(3 * 0.955)
    # Without the saturable path 7% is left; more than was eaten is never absorbed.
    assert absorbed(np.array([4.5]), one_person(), WORLD, 0.0)[0] == pytest.approx(0.315)
    assert absorbed(np.array([0.001]), one_person(), WORLD, 5.0)[0] <= 0.001


def test_a_person_in_balance_excretes_what_is_absorbed_less_what_gut_and_skin_lose() -> None:
    person = one_person()
    course = simulate_physiology(person, NOTHING, WORLD, 30)
    np.testing.assert_allclose(course.serum[:, 0], course.serum[0, 0], rtol=1e-5)
    gained = 3 * (1.7 * 4.1 / 5.6 + 0.07 * 4.1)
    lost = (WORLD["secretion"] + WORLD["sweat"]) * course.serum[0, 0] / WORLD["serum"]
    assert course.urine[-1, 0] == pytest.approx(gained - lost, rel=1e-4)


def test_the_taken_share_is_the_stated_fullness_at_the_usual_serum() -> None:
    made = bodies(one_person(), WORLD)
    share = taken(made.serum, made.half, WORLD["steepness"])
    assert share[0] == pytest.approx(WORLD["fullness"])


@pytest.mark.parametrize("number", range(6))
def test_magnesium_is_neither_made_nor_lost_in_any_world(number: int) -> None:
    world = draw_world(number, "development")
    rng = np.random.default_rng(number)
    cohort = outpatients(rng, world, 200)
    rows = [
        (person, AGENTS[rng.integers(len(AGENTS))], int(day), int(day + length), float(dose))
        for person, day, length, dose in zip(
            rng.integers(0, 200, 400), rng.integers(-30, 60, 400), rng.integers(1, 90, 400),
            rng.lognormal(0, 1, 400), strict=True,
        )
    ]  # fmt: skip
    course = simulate_physiology(cohort.people, Exposures.of(rows), world, 90, first_day=-30)
    assert course.imbalance < 1e-12
    assert np.isfinite(course.serum).all()
    assert (course.serum > 0).all()
    assert (course.urine >= -1e-6).all()


def test_what_the_body_loses_is_what_went_out_less_what_came_in() -> None:
    """An account from the recorded course alone: urine, and gut and skin in step with serum."""
    cohort = healthy_adults(np.random.default_rng(5), WORLD, 40)
    given = with_agent(cohort, "diet", 1, 999, 0.2)
    course = simulate_physiology(cohort.people, given, WORLD, 120)
    usual = WORLD["serum"] * cohort.people.setpoint["serum"]
    lost = (WORLD["secretion"] + WORLD["sweat"]) * course.serum[1:] / usual
    balance = (course.absorbed[1:] - course.urine[1:] - lost).sum(axis=0)
    gained = course.total[-1].astype(float) - course.total[0]
    assert (gained < -5).all()
    np.testing.assert_allclose(balance, gained, atol=0.01)


def test_a_daily_step_equals_hourly_steps() -> None:
    """Backward Euler of a day against 24 of an hour, after a month of half the diet."""
    from magml.simulation.body import Content, advance

    person = one_person()
    start = simulate_physiology(person, NOTHING, WORLD, 1).last
    made, one = bodies(person, WORLD), np.ones(1)
    serum = []
    for steps in (1, 24):
        now = Content(
            start.extracellular.copy(), start.soft.copy(), start.bone.copy(), start.core.copy(),
            start.conservation.copy(),
        )  # fmt: skip
        for _ in range(30 * steps):
            advance(
                now, made, WORLD, 1 / steps, income=one * 1.0, losses=one * 0.96,
                threshold=one, soft=one,
            )  # fmt: skip
        serum.append(float(now.extracellular[0] / made.volume[0]))
    assert serum[0] == pytest.approx(serum[1], rel=0.01)


@pytest.mark.parametrize(
    ("agent", "serum", "retention"),
    [("ppi", -1, 1), ("thiazide", -1, 1), ("calcineurin", -1, 1), ("laxative", -1, 1),
     ("sglt2", 1, -1), ("k_sparing", 1, -1), ("supplement", 1, -1), ("loop", 1, 0)],
)  # fmt: skip
def test_what_is_taken_moves_serum_and_retention(agent: str, serum: int, retention: int) -> None:
    cohort = healthy_adults(np.random.default_rng(0), WORLD, 100)
    dose = 8.0 if agent == "supplement" else 1.0
    states = [
        simulate_physiology(cohort.people, given, WORLD, 2).last
        for given in (NOTHING, with_agent(cohort, agent, -999, 999, dose))
    ]
    change = states[1].serum - states[0].serum
    assert (np.sign(change) == serum).all()
    kept = [loading_test(state, cohort.people, WORLD) for state in states]
    if retention:
        # A kidney that wastes spills a load too: the test is not valid in a few.
        assert (np.sign(kept[1] - kept[0]) == retention).mean() >= 0.97


def test_less_food_empties_the_pools_and_raises_retention_before_serum_is_low() -> None:
    cohort = healthy_adults(np.random.default_rng(1), WORLD, 200)
    fed = simulate_physiology(cohort.people, NOTHING, WORLD, 2).last
    hungry = simulate_physiology(
        cohort.people, with_agent(cohort, "diet", 1, 999, 0.35), WORLD, 250
    ).last
    before, after = (exchangeable(s, cohort.people, WORLD) for s in (fed, hungry))
    assert (after.depletion > before.depletion).all()
    kept = loading_test(hungry, cohort.people, WORLD)
    depleted = kept > 0.275
    assert depleted.sum() > 20
    # The case the simulator is made for: depleted, and serum inside the reference range.
    assert (hungry.serum[depleted] >= 0.75).mean() > 0.2


def test_the_main_cause_is_the_one_put_in() -> None:
    cohort = healthy_adults(np.random.default_rng(2), WORLD, 50)
    for agent in ("calcineurin", "laxative", "ppi"):
        state = simulate_physiology(
            cohort.people, with_agent(cohort, agent, -999, 999), WORLD, 2
        ).last
        found = causes(state, cohort.people, WORLD)
        assert set(found) == {agent, "intake"}
        assert (found[agent] > 0).all()


def test_snapshots_are_the_states_asked_for() -> None:
    cohort = healthy_adults(np.random.default_rng(3), WORLD, 5)
    given = with_agent(cohort, "thiazide", 3, 999)
    who, when = np.array([4, 0, 4]), np.array([9, 2, 0])
    course = simulate_physiology(cohort.people, given, WORLD, 10, snapshots=(who, when))
    assert course.states.person.tolist() == [4, 0, 4]
    assert course.states.day.tolist() == [9, 2, 0]
    np.testing.assert_allclose(
        course.states.serum, [course.serum[9, 4], course.serum[2, 0], course.serum[0, 4]], rtol=1e-6
    )
    assert course.states.levels.shape == (len(CAUSES), 3)


def test_a_load_that_never_came_gives_the_basal_urine() -> None:
    cohort = healthy_adults(np.random.default_rng(4), WORLD, 20)
    state = simulate_physiology(cohort.people, NOTHING, WORLD, 2).last
    basal = loading_test(state, cohort.people, WORLD, dose=0.0)
    np.testing.assert_allclose(basal, state.urine, rtol=0.02)


def test_a_load_by_weight_is_given_by_weight_and_without_the_basal_urine() -> None:
    cohort = healthy_adults(np.random.default_rng(4), WORLD, 5)
    state = simulate_physiology(cohort.people, NOTHING, WORLD, 2).last
    basal = loading_test(state, cohort.people, WORLD, dose=0.0)
    found = retention_by_weight(state, cohort.people, WORLD)
    for person, weight in enumerate(cohort.people.weight):
        alone = loading_test(state, cohort.people, WORLD, dose=float(0.1 * weight), hours=4.0)
        urine = (1 - alone[person]) * 0.1 * weight
        assert found[person] == pytest.approx(1 - (urine - basal[person]) / (0.1 * weight))


def test_worlds_never_meet_and_stay_inside_their_ranges() -> None:
    rows = {row["name"]: row for row in table_rows()}
    drawn: dict[str, list[Parameters]] = {
        split: [draw_world(number, split) for number in range(30)]
        for split in ("development", "training", "test")
    }
    for name, row in rows.items():
        if row["low"] is None:
            continue
        values = [world[name] for worlds in drawn.values() for world in worlds]
        assert len(set(values)) == 90
        assert row["low"] <= min(values) <= max(values) <= row["high"]
    assert len({world.table_hash for worlds in drawn.values() for world in worlds}) == 1
    assert all(row["source"] for row in rows.values())
    open_effects = [row for row in rows.values() if row["source"].startswith("open")]
    assert len(open_effects) >= 4
    for row in open_effects:  # what the literature leaves open may be nothing at all
        none = 1.0 if row["unit"] == "factor" else 0.0
        assert row["low"] <= none <= row["high"]


def test_published_experiments_come_out_with_an_unseen_seed() -> None:
    rows = check_simulator(20_261_124, n=2500)
    passed = {row.name for row in rows if row.passed}
    assert len(passed) >= 45
    assert "AUROC of serum alone, high risk" in passed
    assert "AUROC of depletion score, age, sex" in passed


def test_an_absurd_parameter_fails_visibly() -> None:
    run = CliRunner()
    done = run.invoke(
        app,
        ["simulate", "--check", "--subjects", "600", "--parameter", "slope=0.05", "--json"],
    )
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    failed = {row["name"] for row in found["rows"] if not row["passed"]}
    assert "retention of a load, healthy, mean %" in failed
    assert found["passed"] < found["total"] / 2


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"no parameter 'ppi\.absorbtion'"):
        WORLD.with_values(ppi__absorbtion=0.1)
    with pytest.raises(InputError, match="split"):
        draw_world(0, "tests")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown agent"):
        Exposures.of([(0, "omeprazole", 0, 1, 1.0)])
    with pytest.raises(InputError, match="shape"):
        People(*(np.ones(n) for n in (2, 2, 2, 2, 2, 2, 3)))  # type: ignore[arg-type]


def test_a_ppi_and_a_loop_diuretic_do_more_together_than_each_by_itself() -> None:
    cohort = healthy_adults(np.random.default_rng(6), WORLD, 60)

    def serum(world: Parameters, *agents: str) -> float:
        given = Exposures.of([(p, a, -999, 999, 1.0) for p in range(60) for a in agents])
        return float(simulate_physiology(cohort.people, given, world, 2).last.serum.mean())

    apart = WORLD.with_values(ppi_with_loop__threshold=1.0)
    assert serum(WORLD, "ppi") == serum(apart, "ppi")
    assert serum(WORLD, "loop") == serum(apart, "loop")
    assert serum(WORLD, "ppi", "loop") < serum(apart, "ppi", "loop") - 0.01
