"""What to measure next and what if: the model's answer for changed records, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from magml.bundle import Model, load, write_bundle
from magml.definitions import Catalogue, read_catalogue
from magml.errors import InputError
from magml.explanations import missing_tests, modifiable_concepts, what_if
from magml.explanations.scenario import with_inputs
from magml.explanations.what_if import _part_of
from tests import bundle_parts as parts

AT = pd.Timestamp("2025-03-01 08:00")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return load(folder)


def events(*lines: tuple) -> pd.DataFrame:
    rows = [(1, pd.Timestamp(1960, 3, 1), "MEDS_BIRTH", None, None), *lines]
    return pd.DataFrame(rows, columns=["subject_id", "time", "code", "numeric_value", "unit"])


def row_of(model: Model, records: pd.DataFrame) -> np.ndarray:
    return model.build(records, AT).values[0]


LOOP = (1, pd.Timestamp(2025, 3, 1, 1), "ATC//C03CA01", None, None)
ALBUMIN = (1, pd.Timestamp(2025, 3, 1, 5), "LOINC//1751-7", 30.0, "g/L")


def potassium(value: float) -> tuple:
    return (1, pd.Timestamp(2025, 3, 1, 5), "LOINC//2823-3", value, "mmol/L")


def test_a_missing_test_is_answered_as_if_its_result_stood_in_the_records(model: Model) -> None:
    row = row_of(model, events(LOOP))
    found = {test.concept: test for test in missing_tests(model, row)}
    assert set(found) == {"lab.potassium", "lab.albumin"}
    tenths = [
        model.reference.quantiles[model.reference.names.index("lab.potassium.last")][k]
        for k, level in enumerate((1, 2.5, *range(5, 100, 5), 97.5, 99))
        if level in range(5, 100, 10)
    ]
    assert len(tenths) == 10
    # The same answers by another way: records with that result, through events and plan.
    frames = [events(LOOP, potassium(value)).assign(subject_id=k) for k, value in enumerate(tenths)]
    scores = model.score(pd.concat(frames), AT).sort_values("subject_id")["risk"].to_numpy()
    now = model.score(events(LOOP), AT)["risk"].iloc[0]
    test = found["lab.potassium"]
    assert test.risk == pytest.approx(now, abs=1e-12)
    assert test.low == pytest.approx(scores.min(), abs=1e-6)
    assert test.high == pytest.approx(scores.max(), abs=1e-6)
    assert test.change == pytest.approx(np.abs(scores - now).mean(), abs=1e-6)
    assert test.value_at_high == pytest.approx(tenths[int(scores.argmax())])
    # In these data potassium matters most, and low potassium raises the risk.
    assert missing_tests(model, row, top=1)[0].concept == "lab.potassium"
    assert test.value_at_high < test.value_at_low
    assert set(test.bands) <= {"low", "raised", "high"}


def test_a_test_with_a_result_is_not_missing(model: Model) -> None:
    row = row_of(model, events(ALBUMIN, potassium(3.1)))
    assert missing_tests(model, row) == ()
    only = missing_tests(model, row_of(model, events(potassium(3.1))))
    assert [test.concept for test in only] == ["lab.albumin"]


def test_without_a_table_of_the_cohort_the_error_says_so(model: Model) -> None:
    old = replace(model, reference=None)
    with pytest.raises(InputError, match="format 2"):
        missing_tests(old, row_of(model, events()))
    with pytest.raises(InputError, match="one row of the plan's matrix"):
        missing_tests(model, np.zeros(3))


def test_what_if_equals_the_risk_of_records_without_it(model: Model) -> None:
    with_loop, without = events(LOOP, ALBUMIN), events(ALBUMIN)
    answer = what_if(model, row_of(model, with_loop), {"medication.loop_diuretic": "absent"})
    assert answer.before == pytest.approx(model.score(with_loop, AT)["risk"].iloc[0], abs=1e-12)
    assert answer.after == pytest.approx(model.score(without, AT)["risk"].iloc[0], abs=1e-12)
    assert answer.difference == pytest.approx(answer.after - answer.before)
    assert answer.low <= answer.difference + 0.05
    assert answer.low <= answer.high
    # The data were made with a higher risk under loop diuretics.
    assert answer.difference < 0
    assert answer.features == (("medication.loop_diuretic.active", 1.0, 0.0),)
    assert answer.statement == "Loop diuretics: as if not recorded"
    assert "not the effect of a treatment" in answer.note


def test_what_is_absent_already_changes_nothing(model: Model) -> None:
    answer = what_if(model, row_of(model, events()), {"medication.loop_diuretic": "absent"})
    assert (answer.difference, answer.features) == (0.0, ())


def test_what_cannot_be_modified_is_refused(model: Model) -> None:
    row = row_of(model, events(potassium(3.0)))
    assert modifiable_concepts(model) == ("medication.loop_diuretic",)
    with pytest.raises(InputError, match=r"Age\) is not modifiable.*loop_diuretic"):
        what_if(model, row, {"demographic.age": 30.0})
    with pytest.raises(InputError, match="not modifiable"):
        what_if(model, row, {"lab.potassium": 4.0})
    with pytest.raises(InputError, match=r"did you mean 'medication\.loop_diuretic'"):
        what_if(model, row, {"medication.loop_diuretics": "absent"})
    with pytest.raises(InputError, match="Expected: 'absent'"):
        what_if(model, row, {"medication.loop_diuretic": 0.5})
    with pytest.raises(InputError, match="no change"):
        what_if(model, row, {})


def modifiable_potassium(model: Model) -> Model:
    plain = model.catalogue.model_dump(mode="json")
    plain["domains"][0]["concepts"]["potassium"]["modifiable"] = True
    return replace(model, catalogue=Catalogue.model_validate(plain))


def test_a_measurement_gets_a_value_and_what_derives_from_it_follows(model: Model) -> None:
    changed = modifiable_potassium(model)
    row = row_of(model, events(potassium(2.5), (1, AT - pd.Timedelta("1h"), *potassium(3.5)[2:])))
    answer = what_if(changed, row, {"lab.potassium": 4.0})
    after = {name: value for name, _, value in answer.features}
    assert after == {
        "lab.potassium.last": 4.0,
        "lab.potassium.min.24h": 4.0,
        "lab.potassium_drop": 0.0,
    }
    same = events(potassium(4.0), (1, AT - pd.Timedelta("1h"), *potassium(4.0)[2:]))
    assert answer.after == pytest.approx(model.score(same, AT)["risk"].iloc[0], abs=1e-6)
    with pytest.raises(InputError, match="plausible value, 1 to 12"):
        what_if(changed, row, {"lab.potassium": 40.0})
    with pytest.raises(InputError, match="a value in mmol/L"):
        what_if(changed, row, {"lab.potassium": "absent"})


def test_a_class_takes_its_single_drugs_along() -> None:
    catalogue = read_catalogue()
    ppi = "medication.proton_pump_inhibitor"
    assert _part_of(catalogue, "medication.pantoprazole", ppi)
    assert not _part_of(catalogue, ppi, "medication.pantoprazole")
    assert not _part_of(catalogue, "medication.h2_blocker", ppi)
    assert not _part_of(catalogue, "lab.potassium", ppi)


def test_inputs_of_derived_features_come_once() -> None:
    names = with_inputs(parts.CATALOGUE, ["lab.potassium_drop", "lab.potassium.last"])
    assert names == ("lab.potassium_drop", "lab.potassium.last", "lab.potassium.min.24h")
