"""Prediction instability: figures counted by hand, and refits of the whole pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from magml.errors import InputError
from magml.experiments import instability as module
from magml.experiments import train
from magml.experiments.instability import (
    bootstrap_rows,
    check_refits,
    plot_instability,
    prediction_instability,
    summarise,
)
from magml.experiments.study import build_study, fit_final, read_definitions
from magml.progress import silent
from magml.simulation import generate_hospital
from tests.test_train import small_workspace


def test_the_error_is_the_mean_over_people_and_refits() -> None:
    # Ten people of risk 0.1 whose refits say 0.1 and 0.3; ten of 0.6 whose refits say 0.5 and 0.9.
    risk = np.repeat([0.1, 0.6], 10)
    refitted = np.stack([np.repeat([0.1, 0.5], 10), np.repeat([0.3, 0.9], 10)])
    found = summarise(risk, refitted, (0.2, 0.55))
    assert found.mape == pytest.approx((0.1 + 0.2) / 2)
    assert found.table["mape"].tolist() == pytest.approx([0.1, 0.2])
    assert found.table["n"].tolist() == [10, 10]
    # The 2.5th percentile of two values lies at 1/40 of the way between them.
    assert found.table["low"].tolist() == pytest.approx([0.105, 0.51])
    assert found.table["high"].tolist() == pytest.approx([0.295, 0.89])
    # At 0.2 the first ten change in one refit of two; at 0.55 the others in the other.
    assert found.changed == pytest.approx({0.2: 0.25, 0.55: 0.25})
    assert (found.refits, found.n) == (2, 20)


def test_groups_hold_ten_people_at_least() -> None:
    for n, groups in ((9, 1), (25, 2), (95, 9), (1000, 10)):
        table = summarise(np.linspace(0, 1, n), np.zeros((3, n))).table
        assert len(table) == groups
        assert table["n"].sum() == n
        assert n < 10 or table["n"].min() >= 10


def test_people_are_drawn_whole_with_replacement() -> None:
    persons = np.array([5, 3, 5, 9, 3, 7])
    for seed in range(20):
        drawn = bootstrap_rows(persons, seed)
        times = np.bincount(drawn, minlength=6)
        assert times[0] == times[2]  # the rows of one person
        assert times[1] == times[4]
        assert times[0] + times[1] + times[3] + times[5] == 4  # as many draws as people
    assert any(len(set(bootstrap_rows(persons, seed).tolist())) < 6 for seed in range(5))


def test_fewer_than_200_refits_are_refused() -> None:
    assert check_refits(200) == 200
    with pytest.raises(InputError, match="at least 200"):
        check_refits(199)
    with pytest.raises(InputError, match="at least 200"):
        train("demo", data="nowhere", instability=10)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_hospital(700, seed=4).write(tmp_path_factory.mktemp("records") / "hospital")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_workspace(tmp_path_factory.mktemp("workspace"))


def test_refits_do_not_depend_on_threads(records: Path, workspace: Path, tmp_path: Path) -> None:
    definitions = read_definitions("demo", by_labels=False, workspace=workspace)
    study = build_study(definitions, data=records, threads=1, report=silent)
    fitted = fit_final(study, seed=1, quick=True, threads=1, report=silent)
    options = {"refits": 3, "seed": 1, "quick": True}
    one = prediction_instability(study, fitted, threads=1, **options)
    two = prediction_instability(study, fitted, threads=2, **options)
    assert one.to_dict() == two.to_dict()
    # Other people give other risks, around those of the model.
    assert 0 < one.mape < 0.3
    assert (one.table["low"] <= one.table["high"]).all()
    path = plot_instability(one, tmp_path / "instability.png")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_run_writes_it_on_demand(
    records: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The refits themselves are tested above; here a run hands them on and writes them.
    asked = SimpleNamespace()

    def refits(study, fitted, **options):
        vars(asked).update(options)
        risk = np.linspace(0.1, 0.5, 50)
        return summarise(risk, np.stack([risk, risk + 0.1]), (0.2,))

    monkeypatch.setattr(module, "prediction_instability", refits)
    result = train(
        "demo", data=records, workspace=workspace, out=tmp_path, quick=True, track=False,
        instability=250, seed=9, threads=1,
    )  # fmt: skip
    assert (asked.refits, asked.seed, asked.quick) == (250, 9, True)
    results = result.folder / "results"
    assert json.loads((results / "instability.json").read_text())["mape"] == pytest.approx(0.05)
    assert (results / "instability.csv").is_file()
    assert (results / "plots" / "instability.png").is_file()
