"""Subgroups and treatment of rows, on histories written by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from magml.definitions import read_catalogue
from magml.evaluation import evaluate
from magml.evaluation.subgroups import SUBGROUP_METRICS
from magml.events import read_events
from magml.experiments.details import EVERYBODY, UNTREATED, detail
from magml.experiments.populations import subgroup_dimensions
from magml.experiments.prepare import _treated

DAY = pd.Timestamp("2020-03-01 12:00")


def hour(offset: float) -> pd.Timestamp:
    return DAY + pd.Timedelta(hours=offset)


def rows_of(events: pd.DataFrame, outcome_hours: list[float]):
    """One row a person, predicted at DAY, the outcome some hours later."""
    read = read_events(events)
    times = pd.DataFrame(
        {
            "row_id": range(len(outcome_hours)),
            "subject_id": range(1, len(outcome_hours) + 1),
            "prediction_time": DAY,
            "outcome_time": [hour(h) for h in outcome_hours],
        }
    )
    read.connection.register("handmade_rows", times)
    return read, "handmade_rows"


def event(subject: int, at: float, code: str, known: float | None = None) -> dict:
    return {
        "subject_id": subject,
        "time": hour(at),
        "known_time": None if known is None else hour(known),
        "code": code,
    }


def test_treated_is_magnesium_from_the_prediction_to_before_the_outcome() -> None:
    given, outcome = "DRUG//magnesium sulfate 2 g", 6.0
    events = pd.DataFrame(
        [
            event(1, 0.0, given),  # at the prediction time: between
            event(2, -0.1, given),  # before it
            event(3, 5.9, given),  # just before the outcome
            event(4, 6.0, given),  # at the outcome: too late to have changed it
            event(5, 3.0, "DRUG//furosemide"),
            event(6, 1.0, given),
            event(6, 2.0, given),  # twice is once
        ]
    )
    events["known_time"] = pd.to_datetime(events["known_time"])
    read, rows = rows_of(events, [outcome] * 6)
    found = _treated(read, rows, read_catalogue())
    assert found is not None
    assert found.tolist() == [True, False, True, False, False, True]
    read, rows = rows_of(events[events["code"] == "DRUG//furosemide"], [outcome] * 6)
    assert _treated(read, rows, read_catalogue()) is None


def test_subgroups_are_bands_and_what_was_recorded_before() -> None:
    events = pd.DataFrame(
        [
            event(1, -48, "UNIT//MICU"),
            event(1, -1, "UNIT//SICU"),  # the latest unit counts
            event(1, 1, "UNIT//CCU"),  # and what comes later does not
            event(2, -1, "UNIT//MICU", known=0.0),  # not known before the prediction
            event(1, -9, "RACE//Asian"),
            event(2, -9, "RACE//Asian"),
            event(2, -8, "RACE//White"),
        ]
    )
    read, relation = rows_of(events, [6.0] * 4)
    sites = np.array(["a", "b", "a", None])
    columns = {
        "demographic.female.last": [1, 0, np.nan, 1],
        "demographic.age.years": [30, 39.9, 40, np.nan],
        "comorbidity.pregnancy.present": [1, 0, 0, 0],
        "lab.egfr": [15, 14.9, 90, np.nan],
    }
    study = SimpleNamespace(
        matrix=SimpleNamespace(
            names=tuple(columns), column=lambda name: np.array(columns[name], dtype=np.float32)
        ),
        rows=SimpleNamespace(
            events=read,
            relation=relation,
            labels=np.zeros(4),
            sites=sites,
        ),
    )
    found = {
        name: values.tolist()
        for name, values in subgroup_dimensions(study.rows, study.matrix).items()
    }
    no = "not recorded"
    assert found == {
        "sex": ["female", "male", no, "female"],
        "age": ["18 to 39", "18 to 39", "40 to 64", no],
        "race or ethnicity": ["Asian", "several recorded", no, no],
        "kidney function": ["eGFR 15 to 29", "eGFR under 15", "eGFR 90 and over", no],
        "unit": ["SICU", no, no, no],
        "site": ["a", "b", "a", no],
        "pregnancy": ["pregnancy recorded", None, None, None],
    }


def test_sensitivity_stands_beside_everybody_and_equals_its_rows_alone() -> None:
    generator = np.random.default_rng(2)
    n = 300
    risk = generator.uniform(0.05, 0.95, n)
    labels = (generator.random(n) < risk).astype(int)
    treated = generator.random(n) < 0.2
    no_rows = pd.DataFrame([event(1, -1, "RACE//Asian")])
    read, relation = rows_of(no_rows, [6.0] * n)
    validation = SimpleNamespace(replicates=100)
    study = SimpleNamespace(
        definitions=SimpleNamespace(
            experiment=SimpleNamespace(validation=validation, net_benefit_thresholds=(0.2, 0.5))
        ),
        matrix=SimpleNamespace(names=()),
        rows=SimpleNamespace(
            events=read, relation=relation, labels=labels, sites=None, treated=treated,
            evaluated=np.ones(n, dtype=bool), persons=np.arange(n), attrition=(),
        ),
        resampled_by=np.arange(n),
    )  # fmt: skip
    options = {"thresholds": [0.2, 0.5], "replicates": 100, "seed": 3}
    whole = evaluate(labels, {"model": risk}, groups=np.arange(n), **options)
    nested = SimpleNamespace(risks={"model": risk}, fold=np.zeros(n, dtype=np.int64))
    found = detail(study, nested, whole, seed=3)
    table = found.sensitivity.table.set_index(["subgroup", "metric"])
    alone = evaluate(
        labels[~treated], {"model": risk[~treated]}, groups=np.arange((~treated).sum()), **options
    )
    for population, expected in ((EVERYBODY, whole), (UNTREATED, alone)):
        part = table.loc[population]
        assert part["n"].unique().tolist() == [expected.n]
        assert part["events"].unique().tolist() == [expected.events]
        for metric in SUBGROUP_METRICS:
            got = part.loc[metric, ["value", "low", "high"]].to_numpy(dtype=float)
            np.testing.assert_allclose(got, expected.value(metric), rtol=1e-9)
    assert found.summary()["sensitivity"]["given_magnesium"] == treated.sum()
