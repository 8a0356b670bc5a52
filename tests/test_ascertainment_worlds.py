"""A slice of benchmarks/ascertainment.py on a simulated hospital: who is tested by the records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.ascertainment import World, judge, summary
from benchmarks.tested_worlds import DRIVERS, People, _simulated, _usable, draw_tested
from magml.definitions.experiment import Ascertainment


@pytest.fixture(scope="module")
def hospital() -> People:
    frame, truth = _simulated(31, "development", 2500)
    rng = np.random.default_rng(31)
    names = [name for name in _usable(frame) if frame[name].nunique(dropna=False) > 1]
    serum = truth["serum"].to_numpy()
    # Risks that nobody learned here: by age and one drug.
    loop = np.nan_to_num(frame["medication.loop_diuretic.active"])
    age = np.nan_to_num(frame["demographic.age.years"], nan=60.0)
    risk = 1 / (1 + np.exp(2.8 - 0.5 * loop - 0.01 * (age - 60)))
    low = serum * np.exp(rng.normal(0, 0.038, len(serum))) < 0.75
    return People(frame[names].to_numpy(np.float32), tuple(names), serum, low, risk)


def world_of(hospital: People, seed: int, hidden: tuple[str, float] | None = None) -> World:
    tested = draw_tested(hospital, np.random.default_rng(seed), hidden)
    return World(hospital.features, tested, hospital.low, hospital.risk)


@pytest.mark.slow
def test_corrected_figures_are_nearer_to_everybody_than_raw_ones(hospital: People) -> None:
    settings = Ascertainment(replicates=40)
    judged = [judge(seed, lambda s: world_of(hospital, s), settings) for seed in range(4)]
    found = summary(judged)["prevalence"]
    assert found["raw_bias"] > 0.015  # testing was aimed at those who are low
    assert abs(found["robust_bias"]) < found["raw_bias"] / 2
    assert found["robust_covers"] >= 3
    assert found["range_covers"] == 4
    assert judged[0]["about"]["n"] == 2500


def test_a_share_of_15_to_40_percent_is_tested_by_what_is_recorded(hospital: People) -> None:
    world = world_of(hospital, 5)
    assert 0.12 < world.tested.mean() < 0.43
    assert set(DRIVERS) & set(hospital.names)
    # Only the records count: with other true values the same people are tested.
    other = replace(hospital, serum=hospital.serum[::-1], low=hospital.low[::-1])
    assert (world_of(other, 5).tested == world.tested).all()
    # Unless a reason that nobody recorded does.
    assert (world_of(other, 5, ("serum", 0.4)).tested != world.tested).any()
