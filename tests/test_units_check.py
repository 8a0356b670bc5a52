"""The check that a unit fits its values: traps it must catch, and people it must not refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from magml.definitions import Catalogue, read_catalogue
from magml.errors import UnitError
from magml.units import Finding, UnitGroup, check_units
from magml.units.check import MINIMUM_PEOPLE, MINIMUM_VALUES

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue(ROOT)


def judge(
    catalogue: Catalogue,
    concept: str,
    unit: str | None,
    median: float,
    iqr: float,
    n: int = 1000,
    people: int | None = None,
) -> Finding:
    # The bare name urea means urea itself: the values below are of its nitrogen.
    name = "BUN" if concept == "urea" else concept
    group = UnitGroup(f"lab.{concept}", f"LAB//{name}", unit, None, n, median, iqr, people)
    return check_units([group], catalogue.by_name).findings[0]


#: Medians and interquartile ranges as populations have them, in the unit written: intensive care
#: (PhysioNet 2012 and eICU, counted from the records) and usual outpatient values.
RIGHT = [
    ("magnesium", "mg/dL", 2.0, 0.4),
    ("magnesium", "mg/dL", 1.9, 0.3),
    ("magnesium", "mmol/L", 0.82, 0.12),
    ("magnesium", "mmol/L", 0.87, 0.09),
    ("magnesium", "mEq/L", 1.68, 0.17),
    ("calcium", "mg/dL", 8.2, 0.9),
    ("calcium", "mmol/L", 2.35, 0.15),
    ("calcium_ionised", "mmol/L", 1.13, 0.09),
    ("calcium_ionised", "mg/dL", 4.5, 0.4),
    ("phosphate", "mg/dL", 3.0, 1.5),
    ("phosphate", "mmol/L", 1.1, 0.3),
    ("creatinine", "mg/dL", 1.0, 0.8),
    ("creatinine", "umol/L", 78.0, 25.0),
    ("urea", "mg/dL", 20.0, 21.0),
    ("urea", "mg/dL", 13.0, 6.0),
    ("urea", "mmol/L", 5.0, 2.0),
    ("glucose", "mg/dL", 127.0, 53.0),
    ("glucose", "mmol/L", 5.3, 1.0),
    ("bilirubin", "mg/dL", 0.6, 0.6),
    ("bilirubin", "umol/L", 10.0, 6.0),
    ("albumin", "g/dL", 2.9, 1.0),
    ("albumin", "g/L", 43.0, 4.0),
    ("haemoglobin", "g/dL", 10.2, 3.3),
    ("haemoglobin", "g/L", 140.0, 20.0),
    ("haematocrit", "%", 30.3, 6.2),
    ("potassium", "mEq/L", 4.1, 0.8),
    ("lactate", "mmol/L", 2.1, 2.2),
    ("cholesterol", "mg/dL", 152.0, 60.0),
    ("platelets", "K/uL", 172.0, 120.0),
]
#: The same values under a unit they are not in.
WRONG = [
    ("magnesium", "mmol/L", 2.0, 0.4, "mg/dL"),
    ("magnesium", "mEq/L", 2.0, 0.4, "mg/dL"),
    ("magnesium", "mg/dL", 0.82, 0.12, "mmol/L"),
    ("magnesium", "mEq/L", 0.82, 0.12, "mmol/L"),
    ("magnesium", "mmol/L", 1.68, 0.17, "meq/L"),
    ("calcium", "mmol/L", 8.2, 0.9, "mg/dL"),
    ("calcium", "mEq/L", 8.2, 0.9, "mg/dL"),
    ("calcium", "mg/dL", 2.35, 0.15, "mmol/L"),
    ("calcium_ionised", "mmol/L", 4.5, 0.4, "mg/dL"),
    ("phosphate", "mmol/L", 3.0, 1.5, "mg/dL"),
    ("phosphate", "mg/dL", 1.1, 0.3, "mmol/L"),
    ("creatinine", "umol/L", 1.0, 0.8, "mg/dL"),
    ("creatinine", "mg/dL", 78.0, 25.0, "umol/L"),
    ("urea", "mmol/L", 20.0, 21.0, "mg/dL"),
    ("urea", "mg/dL", 5.0, 2.0, "mmol/L"),
    ("glucose", "mmol/L", 127.0, 53.0, "mg/dL"),
    ("glucose", "mg/dL", 5.3, 1.0, "mmol/L"),
    ("bilirubin", "umol/L", 0.6, 0.6, "mg/dL"),
    ("bilirubin", "mg/dL", 10.0, 6.0, "umol/L"),
    ("albumin", "g/L", 2.9, 1.0, "g/dL"),
    ("albumin", "g/dL", 43.0, 4.0, "g/L"),
    ("haemoglobin", "g/L", 10.2, 3.3, "g/dL"),
    ("haemoglobin", "g/dL", 140.0, 20.0, "g/L"),
    ("haematocrit", "%", 0.30, 0.06, "1"),
    ("cholesterol", "mmol/L", 152.0, 60.0, "mg/dL"),
]


@pytest.mark.parametrize(("concept", "unit", "median", "iqr"), RIGHT)
def test_the_right_unit_is_accepted(
    catalogue: Catalogue, concept: str, unit: str, median: float, iqr: float
) -> None:
    assert judge(catalogue, concept, unit, median, iqr).status == "ok"


@pytest.mark.parametrize(("concept", "unit", "median", "iqr", "true_unit"), WRONG)
def test_a_wrong_unit_is_refused_and_the_right_one_named(
    catalogue: Catalogue, concept: str, unit: str, median: float, iqr: float, true_unit: str
) -> None:
    finding = judge(catalogue, concept, unit, median, iqr)
    assert finding.status == "refused"
    assert true_unit in finding.fitting
    assert not finding.usable


@pytest.mark.parametrize(
    ("concept", "unit", "median"),
    [
        ("temperature", "Cel", 98.6),
        ("fio2", "%", 0.5),
        ("weight", "kg", 175.0),
        ("height", "cm", 1.7),
    ],
)
def test_vital_traps(catalogue: Catalogue, concept: str, unit: str, median: float) -> None:
    group = UnitGroup(f"vital.{concept}", f"VITAL//{concept}", unit, None, 500, median, 0.1)
    assert check_units([group], catalogue.by_name).findings[0].status == "refused"


def test_a_median_on_the_edge_is_doubtful_and_used_as_declared(catalogue: Catalogue) -> None:
    # 1.7 mg/dL is 0.6994 mmol/L, 0.70 in tables of equivalents; in mEq/L it would be 0.85.
    edge = judge(catalogue, "magnesium", "mg/dL", 1.7, 0.3)
    assert (edge.status, edge.usable, edge.fitting) == ("doubtful", True, ("meq/L",))
    assert edge.median == pytest.approx(1.7 / 2.4305)
    # 1.65 is 0.679: beyond the edge, and refused as before.
    assert judge(catalogue, "magnesium", "mg/dL", 1.65, 0.3).status == "refused"


def test_other_sites_decide_about_a_median_on_the_edge(catalogue: Catalogue) -> None:
    def status(*others: float) -> str:
        groups = [
            UnitGroup("lab.magnesium", "LAB//Mg", "mmol/L", f"S{k}", 600, median, 0.12, 200)
            for k, median in enumerate(others)
        ]
        edge = UnitGroup("lab.magnesium", "LAB//Mg", "mg/dL", "E", 600, 1.7, 0.3, 200)
        return check_units([*groups, edge], catalogue.by_name).findings[-1].status

    assert status(0.72, 0.71, 0.73, 0.72) == "doubtful"
    assert status(0.86, 0.85, 0.85, 0.86) == "refused"


def test_the_error_says_what_was_seen_and_what_would_fit(catalogue: Catalogue) -> None:
    group = UnitGroup("lab.magnesium", "LAB//Mg", "mmol/L", "A", 27_315, 2.0, 0.4)
    report = check_units([group], catalogue.by_name)
    with pytest.raises(UnitError) as caught:
        report.raise_for_refused()
    text = str(caught.value)
    for part in ("LAB//Mg", "'mmol/L'", "site A", "27,315", "is 2", "0.7 to 0.94 mmol/L", "mg/dL"):
        assert part in text


def test_unknown_units_are_refused_only_when_there_are_many(catalogue: Catalogue) -> None:
    assert judge(catalogue, "magnesium", "furlong", 2.0, 0.4).status == "unknown"
    assert judge(catalogue, "magnesium", "U/L", 2.0, 0.4).status == "unknown"
    assert judge(catalogue, "magnesium", "furlong", 2.0, 0.4, n=3).status == "too few"
    report = check_units(
        [UnitGroup("lab.magnesium", "LAB//Mg", "furlong", None, 90, 2.0, 0.4)], catalogue.by_name
    )
    with pytest.raises(UnitError, match="does not convert to mmol/L"):
        report.raise_for_refused()


def test_small_groups_are_not_judged(catalogue: Catalogue) -> None:
    few = judge(catalogue, "magnesium", "mmol/L", 2.0, 0.4, n=MINIMUM_VALUES - 1)
    assert few.status == "too few"
    assert few.usable
    one_patient = judge(catalogue, "bilirubin", "mg/dL", 17.3, 5.8, n=31, people=1)
    assert one_patient.status == "too few"
    enough = judge(catalogue, "magnesium", "mmol/L", 2.0, 0.4, people=MINIMUM_PEOPLE)
    assert enough.status == "refused"


def test_unusual_patients_are_not_a_wrong_unit(catalogue: Catalogue) -> None:
    # A kidney ward: urea nitrogen of 45 mg/dL in the median, which no other unit explains.
    ward = judge(catalogue, "urea", "mg/dL", 45.0, 20.0, people=40)
    assert ward.status == "unusual"
    assert ward.usable
    check_units([ward.group], catalogue.by_name).raise_for_refused()


def test_two_units_in_one_group_are_refused(catalogue: Catalogue) -> None:
    # Half 0.85 (mmol/L), half 2.05 (mg/dL), all labelled mg/dL.
    assert judge(catalogue, "magnesium", "mg/dL", 1.2, 1.2).status == "refused"


def test_a_missing_unit_is_inferred_only_without_doubt(catalogue: Catalogue) -> None:
    glucose = judge(catalogue, "glucose", None, 127.0, 53.0)
    assert (glucose.status, glucose.unit) == ("inferred", "mg/dL")
    # 2.0 is usual in mg/dL and too close to usual in mEq/L (1.0 mmol/L) to be sure.
    magnesium = judge(catalogue, "magnesium", None, 2.0, 0.4)
    assert (magnesium.status, magnesium.unit) == ("abstained", None)
    assert not magnesium.usable
    impossible = judge(catalogue, "magnesium", None, 55.0, 3.0)
    assert impossible.status == "abstained"
    assert judge(catalogue, "ph", None, 7.38, 0.1).status == "ok"
    assert judge(catalogue, "glucose", "", 127.0, 53.0).status == "inferred"


def test_inferred_units_are_listed_by_code_and_site(catalogue: Catalogue) -> None:
    groups = [
        UnitGroup("lab.glucose", "LAB//glu", None, "A", 100, 127.0, 53.0),
        UnitGroup("lab.glucose", "LAB//glu", None, "B", 100, 5.6, 1.4),
    ]
    report = check_units(groups, catalogue.by_name)
    assert report.assumed == {("LAB//glu", "A"): "mg/dL", ("LAB//glu", "B"): "mmol/L"}
    assert report.abstained == ()


def test_four_sites_three_units_two_mislabelled(catalogue: Catalogue) -> None:
    sites = [
        ("A", "mg/dL", 2.0, 0.4),
        ("B", "mmol/L", 0.82, 0.12),
        ("C", "mEq/L", 1.65, 0.2),
        ("D", None, 2.0, 0.4),
        ("E", "mmol/L", 2.0, 0.4),
        ("F", "mEq/L", 2.0, 0.4),
    ]
    report = check_units(
        [UnitGroup("lab.magnesium", "LAB//Mg", u, s, 400, m, i, 200) for s, u, m, i in sites],
        catalogue.by_name,
    )
    assert [f.status for f in report.findings] == [
        "ok", "ok", "ok", "abstained", "refused", "refused",
    ]  # fmt: skip
    assert [f.group.site for f in report.refused] == ["E", "F"]


@pytest.mark.data
def test_the_physionet_trap_is_caught_on_the_records(
    catalogue: Catalogue, shared_data: Path
) -> None:
    import duckdb

    table = shared_data / "physionet2012" / "events.parquet"
    n, median, low, high = (
        duckdb.connect()
        .execute(
            "SELECT count(*), median(value), quantile_cont(value, 0.25), "
            f"quantile_cont(value, 0.75) FROM '{table}' WHERE param = 'Mg'"
        )
        .fetchall()[0]
    )

    def report(unit: str) -> Finding:
        group = UnitGroup("lab.magnesium", "LAB//Mg", unit, None, n, median, high - low)
        return check_units([group], catalogue.by_name).findings[0]

    assert n == 27_315
    declared = report("mmol/L")  # what the documentation of the records says
    assert declared.status == "refused"
    assert declared.fitting == ("mg/dL",)
    assert report("mg/dL").status == "ok"
