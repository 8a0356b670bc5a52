"""A slice of the recovery of body status: two small test worlds, and the tables of many."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import magml
from magml.validation.recalibrate import update

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no folder benchmarks/")


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(FOLDER))
    import body_status

    yield body_status
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def seen(bench):
    model = magml.load("low_body_status")
    return model, [bench.Seen(model, "test", number, 900, 99) for number in (30, 31)]


def test_the_model_ranks_better_than_the_depletion_score_among_normal_serum(bench, seen):
    model, worlds = seen
    gains = []
    for world in worlds:
        y, normal = world.y[world.normal], world.normal
        own = roc_auc_score(y, bench.bundle(model, world, "whole_record")[normal])
        points = roc_auc_score(y, bench.score(model, world)[normal, 0])
        gains.append(own - points)
    assert np.mean(gains) > 0.05


def test_a_serum_value_of_today_is_seen_and_only_there(bench, seen):
    model, worlds = seen
    place = list(model.plan.features).index("lab.magnesium.last")
    today = worlds[0].matrix(bench.TODAY)[:, place]
    np.testing.assert_allclose(today, worlds[0].serum, rtol=1e-6)
    assert np.isnan(worlds[0].matrix("survey")[:, place]).all()


def test_an_update_on_three_hundred_measured_people_sets_the_prevalence_right(bench, seen):
    model, worlds = seen
    world = worlds[1]
    row = bench.recalibrated(31, world, model)
    margin = bench.bundle(model, world, "whole_record")
    chosen = np.zeros(len(world.y), bool)
    rng = np.random.default_rng([31, 1])
    chosen[rng.choice(len(world.y), 300, replace=False)] = True
    assert row["cases_measured"] == world.y[chosen].sum()
    _, shifted = update(model.calibrator, margin[chosen], world.y[chosen], "intercept")
    # By the definition of the update: on the measured themselves, expected equals observed.
    assert shifted.risk(margin[chosen]).sum() == pytest.approx(world.y[chosen].sum(), rel=1e-6)
    off = {k: abs(np.log(row[f"expected_{k}"] / row["observed"])) for k in ("before", "intercept")}
    assert off["intercept"] < max(off["before"], 0.35)


def test_parts_of_a_run_join_only_if_they_are_of_one(bench):
    part = {"simulator": "a", "bundle": "b", "train_worlds": 1, "people": 2, "seconds": 3,
            "rows": [1], "found": [2], "recalibration": [3],
            "truths": [4]}  # fmt: skip
    assert bench.merged([part, part])["rows"] == [1, 1]
    with pytest.raises(SystemExit, match="bundle"):
        bench.merged([part, {**part, "bundle": "c"}])


def test_pairs_of_like_weight_alone_count(bench):
    from body_status_truths import grouped_auroc

    # Tenth 0: cases 3 and 1 against 2 -> one of two pairs right. Tenth 1: 5 against 4 and 9 -> one
    # of two. Over all nine pairs: 3 above 2, 5 above 2 and 4.
    y = np.array([1, 1, 0, 1, 0, 0])
    margin = np.array([3.0, 1.0, 2.0, 5.0, 4.0, 9.0])
    assert grouped_auroc(y, margin, np.array([0, 0, 0, 1, 1, 1])) == pytest.approx(2 / 4)
    assert grouped_auroc(y, margin, np.zeros(6)) == pytest.approx(3 / 9)


def test_other_truths_count_as_many_depleted_in_the_worlds_that_trained(bench, seen):
    from body_status_truths import TRUTHS, limits_of, outcome

    _, worlds = seen
    limits = limits_of(worlds)
    counts = {t: sum(outcome(w, t, limit).sum() for w in worlds) for t, limit in limits.items()}
    assert set(counts) == set(TRUTHS)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert counts["30 mmol for everybody"] == sum(w.y.sum() for w in worlds)


def test_a_section_takes_its_place_and_leaves_the_rest_of_the_page():
    sys.path.insert(0, str(FOLDER))
    from real_world import placed

    page = placed("# Results\n\nfirst\n", "one")
    again = placed(page + "\nlast\n", "two")
    assert "one" not in again
    assert again.index("first") < again.index("two") < again.index("last")
    assert placed(again, "two") == again
