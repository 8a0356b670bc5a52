"""Doses: units, salts, orders, and definitions that do not fit."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from magml import build_features
from magml.definitions import read_catalogue
from magml.definitions.catalogue import Catalogue, Concept, DomainFile
from magml.definitions.dose import Dose, Drug
from magml.events import read_events
from magml.features import DIALECTS, Plan, compile_plan, find_evidence
from magml.features.names import matches, order_marks
from magml.units.doses import dose_scale

ROOT = Path(__file__).resolve().parent.parent
#: IUPAC 2021 (abridged) standard atomic weights.
WEIGHTS = {
    "Mg": 24.305, "O": 15.999, "H": 1.008, "S": 32.06, "Cl": 35.45, "C": 12.011, "N": 14.007,
    "Si": 28.085,
}  # fmt: skip
DRUG = Drug(names=("a drug",))
IN_MG = Dose(unit="mg", drugs={"drug": DRUG})


def molar_mass(formula: str) -> float:
    """Return the mass of a formula with one level of brackets."""
    total = 0.0
    for inner, times, element, count in re.findall(
        r"\(([^()]*)\)(\d*)|([A-Z][a-z]?)(\d*)", formula
    ):
        if inner:
            total += molar_mass(inner) * int(times or 1)
        else:
            total += WEIGHTS[element] * int(count or 1)
    return total


def test_molar_masses_of_known_salts() -> None:
    assert molar_mass("MgO") == pytest.approx(40.304)
    assert molar_mass("MgSO4(H2O)7") == pytest.approx(246.47, abs=0.01)
    assert molar_mass("Mg3(C6H5O7)2") == pytest.approx(451.11, abs=0.01)


def test_elemental_shares_follow_from_the_formulas() -> None:
    seen = 0
    for name, concept in read_catalogue(ROOT).by_name.items():
        for salt, drug in (concept.dose.drugs if concept.dose else {}).items():
            assert bool(drug.formula) == (drug.share != 1), f"{name}: {salt}"
            if drug.formula:
                atoms = int(re.match(r"Mg(\d*)", drug.formula)[1] or 1)  # type: ignore[index]
                share = atoms * WEIGHTS["Mg"] / molar_mass(drug.formula)
                assert drug.share == pytest.approx(share, abs=6e-5), salt
                seen += 1
    assert seen >= 14


def test_every_drug_with_a_dose_belongs_to_its_class() -> None:
    catalogue = read_catalogue(ROOT)
    for name, concept in catalogue.by_name.items():
        for drug in (concept.dose.drugs if concept.dose else {}).values():
            suffix = "".join(f"//{order}" for order in concept.orders if order != "scheduled")
            for code in [*drug.codes, *(f"DRUG//{text}" for text in drug.names)]:
                assert name in matches(catalogue, code + suffix), (name, code)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("mg", (1, False)), ("G", (1000, False)), ("mcg", (0.001, False)),
        ("mg/hr", (1, True)), ("mg/day", (1 / 24, True)), ("g/24 h", (1000 / 24, True)),
        ("ug/min", (0.06, True)), ("tab", None), ("mL/h", None), ("mcg/kg/min", None),
        ("mg/m2", None), ("units", None), ("", None),
    ],
)  # fmt: skip
def test_units_of_doses(unit: str, expected: tuple[float, bool] | None) -> None:
    found = dose_scale(unit, IN_MG, DRUG)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found == (pytest.approx(expected[0]), expected[1])


def test_insulin_in_units() -> None:
    insulin = Drug(names=("insulin",), ddd="40 U")
    dose = Dose(unit="DDD", drugs={"insulin": insulin})
    assert dose_scale("units/hr", dose, insulin) == (1 / 40, True)
    assert dose_scale("mg", dose, insulin) is None


def test_order_marks_stand_behind_the_code_alone() -> None:
    assert order_marks("ATC//A02BC02//Outpatient") == ("ATC//A02BC02", frozenset({"outpatient"}))
    assert order_marks("DRUG//outpatient") == ("DRUG//outpatient", frozenset())
    catalogue = read_catalogue(ROOT)
    assert "medication.pantoprazole" in matches(catalogue, "RxNorm//40790//inpatient")
    assert "medication.pantoprazole" in matches(catalogue, "ATC//A02BC02//as needed//inpatient")
    assert matches(catalogue, "ATC//A02BC02//as needed//cancelled") == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {"now": ("daily_dose",)}}, "needs `dose`"),
        ({"features": {"ever": ("share",)}}, "window with a length"),
        ({"gap": "a week"}, "not a duration"),
        ({"orders": ("prn",)}, "none of"),
        ({"kind": "condition", "gap": "1d"}, "of exposures"),
        ({"dose": {"unit": "DDD", "drugs": {"a": {"names": ["a"]}}}}, "needs the ddd"),
        ({"dose": {"unit": "mg", "drugs": {"a": {"names": ["a"], "ddd": "1 mg"}}}}, "no other"),
        ({"dose": {"unit": "DDD", "drugs": {"a": {"names": ["a"], "ddd": "40mg"}}}}, "no amount"),
        ({"dose": {"unit": "mg", "drugs": {"a": {}}}}, "names or codes"),
    ],
)
def test_definitions_that_do_not_fit_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Concept.model_validate({"label": "x", "kind": "exposure", **change})


def _catalogue() -> Catalogue:
    concept = Concept(
        label="A drug", kind="exposure", names=("drug",), dose=IN_MG.model_copy(
            update={"drugs": {"drug": Drug(names=("drug",))}}),
        features={"7d": ("dose",)},
    )  # fmt: skip
    return Catalogue(domains=(DomainFile(domain="medication", concepts={"d": concept}),))


def test_a_plan_with_doses_survives_json_and_compiles_for_every_engine() -> None:
    plan = compile_plan(_catalogue(), dialects=DIALECTS)
    again = Plan.from_dict(plan.to_dict())
    assert again.concepts == plan.concepts
    assert all("sum" in plan.sql[dialect]["doses"].lower() for dialect in DIALECTS)


def test_a_dose_known_at_the_prediction_time_is_not_seen() -> None:
    t = pd.Timestamp("2024-03-10 08:00")
    events = pd.DataFrame({
        "subject_id": [1, 1], "time": [t - pd.Timedelta("2h")] * 2, "code": ["DRUG//drug"] * 2,
        "known_time": [t - pd.Timedelta("1us"), t], "end_time": [t - pd.Timedelta("2h")] * 2,
        "numeric_value": [5.0, 7.0], "unit": ["mg", "mg"],
    })  # fmt: skip
    name = "medication.d.dose.7d"
    found = build_features(events, t, catalogue=_catalogue())[name]
    assert found[0] == 5
    later = build_features(events, t + pd.Timedelta("1us"), catalogue=_catalogue())[name]
    assert later[0] == 7
    rows = find_evidence(compile_plan(_catalogue()), read_events(events), [(1, t, [name])])
    assert [(row.value, row.used) for row in rows[0][name]] == [(5.0, 5.0)]
    assert math.isclose(rows[0][name][0].used or 0, float(found[0]))
