"""A slice of benchmarks/latent_status.py: latent classes against a simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

import magml
from benchmarks.latent_status import SETS, indicators, judge, summary

pytest.importorskip("stepmix")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_latent_classes_of_all_indicators_beat_each_alone_in_a_world_of_development() -> None:
    truth = magml.simulate(1500, 77, world=21, split="development").truth
    truth = truth[truth["gfr"] >= 60].reset_index(drop=True)
    rows = judge(truth, indicators(truth, np.random.default_rng(1)))
    assert [row["set"] for row in rows] == list(SETS)
    whole = rows[0]
    assert set(whole["alone"]) == set(SETS["all five"])
    assert whole["latent"] > max(whole["alone"].values())
    # Serum and ionised magnesium come from one concentration: the pair is reported.
    assert ["ionised_magnesium", "serum_magnesium"] in whole["dependent"]
    found = summary([{"world": 0, **row} for row in rows])
    assert found[0]["beats_every_single"] == 1
    assert found[0]["latent"][0] == pytest.approx(whole["latent"], abs=1e-4)
