"""Spellings and conversions, against values worked out by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from magml.definitions import Catalogue, read_catalogue
from magml.definitions.catalogue import Concept
from magml.errors import UnitError
from magml.units import canonical_unit, conversion, convertible

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue(ROOT)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("mg/dL", "mg/dL"),
        ("mg/dl", "mg/dL"),
        ("MG/DL", "mg/dL"),
        (" mg / dL ", "mg/dL"),
        ("mmol/L", "mmol/L"),
        ("MMOL/L", "mmol/L"),
        ("mm/l", "mmol/L"),
        ("mEq/L", "meq/L"),
        ("meq/l", "meq/L"),
        ("gm/dL", "g/dL"),
        ("K/mcL", "10*9/L"),
        ("x10^9/L", "10*9/L"),
        ("10*3/uL", "10*9/L"),
        ("10^3/µL", "10*9/L"),
        ("x10(3)/mcL", "10*9/L"),
        ("cells/nL", "10*9/L"),
        ("percent", "%"),
        ("fraction", "1"),
        ("degC", "Cel"),
        ("degF", "[degF]"),
        ("mm Hg", "mm[Hg]"),
        ("MMHG", "mm[Hg]"),
        ("IU/L", "U/L"),
        ("Units/L", "U/L"),
        ("ng/mL", "ug/L"),
        ("pg/mL", "ng/L"),
        ("mcg/mL", "mg/L"),
        ("bpm", "/min"),
        ("lbs", "[lb_av]"),
        ("µmol/L", "umol/L"),
        ("μmol/L", "umol/L"),
    ],
)
def test_spellings(written: str, canonical: str) -> None:
    assert canonical_unit(written) == canonical


def test_an_unknown_spelling_names_the_nearest() -> None:
    with pytest.raises(UnitError, match=r"'mg/ddL' is unknown.*did you mean 'mg/dL'"):
        canonical_unit("mg/ddL")


#: (concept, value, unit, value in the concept's unit). Worked out by hand from atomic and molar
#: masses: Mg 24.305, Ca 40.078, P 30.974, creatinine 113.12, glucose 180.156, bilirubin 584.66,
#: urea holds two N of 14.007, cholesterol 386.65.
BY_HAND = [
    ("lab.magnesium", 1.7, "mg/dL", 0.69944),
    ("lab.magnesium", 2.4305, "mg/dL", 1.0),
    ("lab.magnesium", 1.4, "mEq/L", 0.70),
    ("lab.magnesium", 0.70, "mmol/L", 0.70),
    ("lab.magnesium", 17.0, "mg/L", 0.69944),
    ("lab.potassium", 4.0, "mEq/L", 4.0),
    ("lab.potassium", 15.639, "mg/dL", 4.0),
    ("lab.calcium", 8.0, "mg/dL", 1.99611),
    ("lab.calcium", 4.0, "mEq/L", 2.0),
    ("lab.calcium_ionised", 4.24, "mg/dL", 1.05794),
    ("lab.phosphate", 3.0974, "mg/dL", 1.0),
    ("lab.creatinine", 1.0, "mg/dL", 88.4017),
    ("lab.creatinine", 0.1, "mmol/L", 100.0),
    ("lab.urea", 14.0, "mg/dL", 4.9975),
    ("lab.urea", 2.8014, "mg/dL", 1.0),
    ("lab.glucose", 180.156, "mg/dL", 10.0),
    ("lab.bilirubin", 1.0, "mg/dL", 17.1039),
    ("lab.cholesterol", 193.325, "mg/dL", 5.0),
    ("lab.albumin", 2.9, "g/dL", 29.0),
    ("lab.haemoglobin", 10.0, "g/dL", 100.0),
    ("lab.haemoglobin", 6.2058, "mmol/L", 100.0),
    ("lab.crp", 5.4, "mg/dL", 54.0),
    ("lab.fibrinogen", 300.0, "mg/dL", 3.0),
    ("lab.troponin_t", 0.05, "ng/mL", 0.05),
    ("lab.troponin_t", 14.0, "ng/L", 0.014),
    ("lab.platelets", 172.0, "K/mcL", 172.0),
    ("lab.platelets", 172_000.0, "/uL", 172.0),
    ("lab.haematocrit", 0.30, "L/L", 30.0),
    ("lab.pco2", 5.3329, "kPa", 40.0),
    ("vital.fio2", 0.5, "fraction", 50.0),
    ("vital.temperature", 98.6, "degF", 37.0),
    ("vital.temperature", 32.0, "degF", 0.0),
    ("vital.weight", 176.37, "lb", 80.0),
    ("vital.height", 1.75, "m", 175.0),
    ("vital.height", 68.8976, "in", 175.0),
    ("vital.urine_output", 1.5, "L", 1500.0),
]


@pytest.mark.parametrize(("concept", "value", "unit", "expected"), BY_HAND)
def test_conversions_by_hand(
    catalogue: Catalogue, concept: str, value: float, unit: str, expected: float
) -> None:
    scale, shift = conversion(unit, catalogue.by_name[concept])
    assert value * scale + shift == pytest.approx(expected, rel=2e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("concept", "unit"),
    [
        ("lab.magnesium", "U/L"),
        ("lab.magnesium", "kg"),
        ("lab.albumin", "mmol/L"),
        ("lab.alt", "mg/dL"),
        ("lab.phosphate", "mEq/L"),
        ("lab.creatinine", "mEq/L"),
        ("lab.tsh", "U/L"),
        ("vital.temperature", "kg"),
        ("vital.weight", "cm"),
        ("vital.heart_rate", "mm Hg"),
    ],
)
def test_units_of_another_quantity_are_refused(
    catalogue: Catalogue, concept: str, unit: str
) -> None:
    assert not convertible(unit, catalogue.by_name[concept])
    with pytest.raises(UnitError, match="does not convert"):
        conversion(unit, catalogue.by_name[concept])


def test_a_missing_fact_about_the_analyte_is_named(catalogue: Catalogue) -> None:
    with pytest.raises(UnitError, match="states no valence"):
        conversion("mEq/L", catalogue.by_name["lab.phosphate"])
    with pytest.raises(UnitError, match="states no molar mass"):
        conversion("mmol/L", catalogue.by_name["lab.albumin"])


def test_a_missing_unit_is_accepted_for_plain_numbers_only(catalogue: Catalogue) -> None:
    assert conversion(None, catalogue.by_name["lab.ph"]) == (1.0, 0.0)
    assert conversion("", catalogue.by_name["lab.inr"]) == (1.0, 0.0)
    assert conversion(None, catalogue.by_name["demographic.female"]) == (1.0, 0.0)
    for unit in (None, "", "  "):
        with pytest.raises(UnitError, match="has no unit"):
            conversion(unit, catalogue.by_name["lab.magnesium"])


def test_there_and_back_is_the_identity() -> None:
    units = ["mg/dL", "mmol/L", "meq/L", "umol/L", "g/L"]
    for first in units:
        for second in units:
            there = Concept(
                label="x", kind="measurement", unit=second, molar_mass=24.305, valence=2
            )
            back = there.model_copy(update={"unit": first})
            scale = conversion(first, there)[0] * conversion(second, back)[0]
            assert scale == pytest.approx(1.0, rel=1e-14)


def test_equal_spellings_never_import_pint() -> None:
    code = (
        "import sys\n"
        "from magml.definitions import read_catalogue\n"
        "from magml.units import conversion\n"
        "c = read_catalogue().by_name\n"
        "assert conversion('MMOL/L', c['lab.magnesium']) == (1.0, 0.0)\n"
        "assert 'pint' not in sys.modules\n"
        "conversion('mg/dL', c['lab.magnesium'])\n"
        "assert 'pint' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("concept", "unit", "value", "expected"),
    [
        # 60 pmol/L at 6.00 pmol per mIU (Knopp 2019), not 8.6 as with 6.945.
        ("insulin", "pmol/L", 60.0, 10.0),
        ("insulin", "uIU/mL", 10.0, 10.0),
        ("renin", "ng/L", 10.0, 16.0),
        ("renin", "pg/mL", 10.0, 16.0),
        ("renin", "mU/L", 16.0, 16.0),
        # 5 mmol of magnesium a day are 121.5 mg and 10 mEq.
        ("magnesium_urine_daily", "mmol/24h", 5.0, 5.0),
        ("magnesium_urine_daily", "mg/24hr", 121.525, 5.0),
        ("magnesium_urine_daily", "mg/d", 121.525, 5.0),
        ("magnesium_urine_daily", "mEq/24h", 10.0, 5.0),
        ("crp", "mg/dL", 1.2, 12.0),
        ("crp", "mg/L", 12.0, 12.0),
        ("crp", "ug/mL", 12.0, 12.0),
    ],
)
def test_units_that_laboratories_use(
    catalogue: Catalogue, concept: str, unit: str, value: float, expected: float
) -> None:
    scale, shift = conversion(unit, catalogue.by_name[f"lab.{concept}"])
    assert value * scale + shift == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("code", "unit", "value", "expected"),
    [
        # 14 mg/dL of urea nitrogen and 30 mg/dL of urea are both 5.0 mmol/L.
        ("LOINC//3094-0", "mg/dL", 14.007, 5.0),
        ("LAB//BUN", "mg/dL", 14.007, 5.0),
        ("LAB//Urea nitrogen", "mg/dL", 14.007, 5.0),
        ("LOINC//3091-6", "mg/dL", 30.028, 5.0),
        ("LAB//UREA", "mg/dL", 30.028, 5.0),
        ("LAB//Serum urea", "g/L", 0.30028, 5.0),
        ("LOINC//22664-7", "mmol/L", 5.0, 5.0),
        ("LAB//urea", "mmol/L", 5.0, 5.0),
    ],
)
def test_urea_and_urea_nitrogen_are_told_apart_by_their_code(
    catalogue: Catalogue, code: str, unit: str, value: float, expected: float
) -> None:
    import pandas as pd

    from magml.features import build_features

    events = pd.DataFrame(
        {
            "subject_id": [1],
            "time": [pd.Timestamp("2020-01-01")],
            "code": [code],
            "numeric_value": [value],
            "unit": [unit],
        }
    )
    table = build_features(events, "2020-01-02", catalogue=catalogue, features=["lab.urea.last"])
    assert float(table["lab.urea.last"][0]) == pytest.approx(expected, rel=1e-4)


def test_the_check_knows_the_mass_of_a_code(catalogue: Catalogue) -> None:
    from magml.units import UnitGroup, check_units

    groups = [
        UnitGroup("lab.urea", code, "mg/dL", None, 500, 35.0, 20.0)
        for code in ("LAB//Urea", "LAB//BUN")
    ]
    medians = [f.median for f in check_units(groups, catalogue.by_name).findings]
    # 35 mg/dL: 350 / 60.056 and 350 / 28.014 mmol/L.
    assert medians == pytest.approx([5.828, 12.494], rel=1e-3)
