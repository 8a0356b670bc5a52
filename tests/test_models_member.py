"""One booster: rows without copies, batches, early stopping on the people left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb
from pydantic import ValidationError

from magml.definitions.model import Estimator
from magml.errors import InputError
from magml.memory import limited
from magml.models import member as member_module
from magml.models.bag import fit_bag
from magml.models.member import booster_parameters, has_cuda

ONE = Estimator(members=1, rounds=20, subsample_people=1.0, parameters={"min_child_weight": 1.0})


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(900, 5)).astype(np.float32)
    X[rng.random(X.shape) < 0.3] = np.nan
    odds = 1.5 * np.nan_to_num(X[:, 0]) - 1
    y = (rng.random(900) < 1 / (1 + np.exp(-odds))).astype(np.float32)
    return X, y, np.arange(900)


def test_rows_chosen_give_the_bag_of_those_rows_alone(rows):
    X, y, person = rows
    chosen = person % 3 != 0
    estimator = ONE.model_copy(update={"members": 2, "subsample_people": 0.8})
    weights = np.linspace(0.5, 1.5, 900)
    within = fit_bag(X, y, person, estimator, seed=2, weights=weights, rows=chosen)
    alone = fit_bag(
        X[chosen], y[chosen], person[chosen], estimator, seed=2, weights=weights[chosen]
    )
    assert within.to_bytes() == alone.to_bytes()


def test_shared_cuts_of_all_rows_give_the_booster_of_the_whole_matrix(rows, monkeypatch):
    whole = fit_bag(*rows, ONE, seed=2)
    monkeypatch.setattr(member_module, "_SMALL", 0)
    monkeypatch.setattr(member_module, "_BATCH", 700)  # seven batches
    shared = fit_bag(*rows, ONE, seed=2)
    assert shared.to_bytes() == whole.to_bytes()
    monkeypatch.setattr(member_module, "_CUT_ROWS", 300)
    fewer = fit_bag(*rows, ONE, seed=2)
    assert fewer.to_bytes() != whole.to_bytes()
    assert np.corrcoef(fewer.margin(rows[0]), whole.margin(rows[0]))[0, 1] > 0.95
    two = fit_bag(*rows, ONE.model_copy(update={"members": 2}), seed=2, threads=2)
    assert two.to_bytes()[0] == fewer.to_bytes()[0]


def test_threads_within_a_member_change_no_byte(rows):
    assert (
        fit_bag(*rows, ONE, seed=2, threads=2).to_bytes() == fit_bag(*rows, ONE, seed=2).to_bytes()
    )


def test_a_member_is_plain_xgboost_with_the_same_parameters(rows):
    X, y, _ = rows
    settings = {
        **ONE.parameters,
        "objective": "binary:logistic",
        "tree_method": "hist",
        "base_score": float(y.astype(float).mean()),
        "seed": 0,
        "subsample": 1.0,
        "colsample_bytree": 1.0,
        "nthread": 1,
    }
    plain = xgb.train(settings, xgb.DMatrix(X, label=y), num_boost_round=20)
    ours = ONE.model_copy(
        update={"parameters": {**ONE.parameters, "subsample": 1.0, "colsample_bytree": 1.0}}
    )
    margin = plain.predict(xgb.DMatrix(X), output_margin=True)
    np.testing.assert_allclose(fit_bag(*rows, ours, seed=9).margin(X), margin, atol=1e-6)


def test_early_stopping_keeps_the_trees_up_to_the_lowest_loss_of_those_left_out(rows):
    X, y, person = rows
    stopping = Estimator(
        members=1,
        rounds=400,
        subsample_people=0.7,
        early_stopping=10,
        parameters={"learning_rate": 0.3, "min_child_weight": 1.0},
    )
    stopped = fit_bag(X, y, person, stopping, seed=3)
    kept = stopped.boosters[0].num_boosted_rounds()
    assert 0 < kept < 390
    # The same member without stopping: its loss on the people left out is lowest at `kept` trees,
    # as far as the ten that follow.
    full = fit_bag(X, y, person, stopping.model_copy(update={"early_stopping": None}), seed=3)
    from magml.models.bag import _member_rows
    from magml.models.seeds import derive_seed

    out = ~_member_rows(y, person, 0.7, derive_seed(3, "people", 0))
    data = xgb.DMatrix(X[out])
    losses = []
    for trees in range(1, kept + 11):
        risk = full.boosters[0][:trees].predict(data).astype(float)
        losses.append(-np.mean(np.where(y[out] == 1, np.log(risk), np.log(1 - risk))))
    assert int(np.argmin(losses)) + 1 == kept
    assert stopped.to_bytes() == fit_bag(X, y, person, stopping, seed=3, threads=2).to_bytes()


def test_early_stopping_needs_people_left_out():
    with pytest.raises(ValidationError, match="subsample_people below 1"):
        Estimator(subsample_people=1.0, early_stopping=5)


@pytest.mark.parametrize("stopping", [None, 5])
def test_a_matrix_binned_on_disk_gives_the_trees_of_one_in_memory(
    rows, monkeypatch, tmp_path, stopping
):
    monkeypatch.setattr(member_module, "_SMALL", 0)
    monkeypatch.setattr(member_module, "_BATCH", 700)  # seven batches
    estimator = ONE.model_copy(
        update={"members": 2, "subsample_people": 0.8, "early_stopping": stopping}
    )
    made = []
    real = xgb.ExtMemQuantileDMatrix

    def counted(batches, **options):
        made.append(batches.cache_prefix)
        return real(batches, **options)

    whole = fit_bag(*rows, estimator, seed=2, threads=2, memory=10**9)
    monkeypatch.setattr(xgb, "ExtMemQuantileDMatrix", counted)
    with limited(None, tmp_path / "run"):
        found = fit_bag(*rows, estimator, seed=2, threads=2, memory=10_000)
    assert found.to_bytes() == whole.to_bytes()
    assert len(made) == (2 if stopping is None else 4)
    assert all(Path(name).is_relative_to(tmp_path) for name in made)
    assert not list(tmp_path.rglob("*"))  # nothing of the records is left


def test_members_are_fewer_at_once_where_memory_is_short(rows, monkeypatch):
    monkeypatch.setattr(member_module, "_SMALL", 0)
    X, y, person = rows
    at_once = []
    monkeypatch.setattr(
        "magml.models.bag.booster_parameters",
        lambda *given: at_once.append(4 // given[3]) or booster_parameters(*given),
    )
    four = ONE.model_copy(update={"members": 4})
    for share in (1.2, 3.5, 9):
        room = X.nbytes + int(share * 6 * X.size)
        fit_bag(X, y, person, four, seed=2, threads=4, memory=room)
    fit_bag(X, y, person, four, seed=2, threads=4, memory=1)
    assert at_once == [1, 4 // (4 // 3), 4, 1]


def test_cuda_is_passed_on_and_members_take_turns(rows, monkeypatch):
    asked = ONE.model_copy(update={"device": "cuda", "members": 2})
    monkeypatch.setattr(member_module, "has_cuda", lambda: True)
    devices = []
    real = xgb.train

    def train(settings, *given, **options):
        devices.append((settings["device"], settings["nthread"]))
        return real({**settings, "device": "cpu"}, *given, **options)

    monkeypatch.setattr(xgb, "train", train)
    bag = fit_bag(*rows, asked, seed=2, threads=2)
    assert devices == [("cuda", 2), ("cuda", 2)]
    monkeypatch.undo()
    assert (
        bag.to_bytes() == fit_bag(*rows, ONE.model_copy(update={"members": 2}), seed=2).to_bytes()
    )


def test_without_a_graphics_processor_cuda_is_refused(rows):
    if has_cuda():
        pytest.skip("a graphics processor is here")
    asked = ONE.model_copy(update={"device": "cuda"})
    with pytest.raises(InputError, match="no graphics processor that XGBoost can use"):
        fit_bag(*rows, asked, seed=2)
