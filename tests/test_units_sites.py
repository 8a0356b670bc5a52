"""Sites compared with each other: wrong units found, and right ones left alone."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from magml.definitions import Catalogue, read_catalogue
from magml.errors import UnitError
from magml.units import UnitGroup, UnitReport, check_units

ROOT = Path(__file__).resolve().parent.parent
DRAWS = 250


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue(ROOT)


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("unit_sites", ROOT / "benchmarks/unit_sites.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["unit_sites"] = module
    spec.loader.exec_module(module)
    return module


def judge(catalogue: Catalogue, *sites: tuple[str, str | None, float]) -> UnitReport:
    groups = [
        UnitGroup("lab.magnesium", "LAB//Mg", unit, site, 600, median, 0.15 * median, 200)
        for site, unit, median in sites
    ]
    return check_units(groups, catalogue.by_name)


def status(report: UnitReport) -> dict[str | None, str]:
    return {f.group.site: f.status for f in report.findings}


RIGHT = (("A", "mg/dL", 1.8), ("B", "mmol/L", 0.74), ("C", "mEq/L", 1.5), ("D", "mmol/L", 0.75))


def test_mg_per_dl_as_meq_per_l_is_found_where_the_usual_range_misses_it(
    catalogue: Catalogue,
) -> None:
    # 1.8 read as mEq/L is 0.90 mmol/L, which is usual; as mg/dL it is 0.741, as the others'.
    alone = judge(catalogue, ("E", "mEq/L", 1.8))
    assert status(alone) == {"E": "ok"}
    together = judge(catalogue, *RIGHT, ("E", "mEq/L", 1.8))
    assert status(together) == {**dict.fromkeys("ABCD", "ok"), "E": "refused"}
    finding = together.refused[0]
    assert finding.fitting == ("mg/dL",)
    assert finding.others == pytest.approx(0.745, abs=0.01)
    with pytest.raises(UnitError, match=r"site E.*0\.9 mmol/L, the other sites' 0\.74.*mg/dL"):
        together.raise_for_refused()


def test_between_the_two_it_is_doubtful_and_used_as_declared(catalogue: Catalogue) -> None:
    # log(0.85 / 0.7457) = 0.13: 2 to 3 standard deviations of about 0.055, nearer to 0.195.
    report = judge(catalogue, *RIGHT, ("E", "mEq/L", 1.7))
    assert status(report)["E"] == "doubtful"
    assert report.doubtful[0].usable
    assert report.refused == ()


def test_a_deviation_that_no_other_unit_explains_is_no_unit(catalogue: Catalogue) -> None:
    # 0.93 is as far from the others as 1.8 mEq/L is, but in mg/dL or mEq/L it would be absurd.
    report = judge(catalogue, *RIGHT, ("E", "mmol/L", 0.93))
    assert status(report)["E"] == "ok"


def test_two_groups_never_refuse_each_other(catalogue: Catalogue) -> None:
    # Which of the two is wrong cannot be told.
    report = judge(catalogue, ("A", "mg/dL", 1.75), ("B", "mEq/L", 1.85))
    assert set(status(report).values()) <= {"ok", "doubtful"}
    assert report.refused == ()


def test_several_wrong_sites_are_all_named_in_one_message(catalogue: Catalogue) -> None:
    report = judge(catalogue, *RIGHT, ("E", "mmol/L", 1.8), ("F", "mEq/L", 1.8), ("G", None, 1.8))
    assert [f.group.site for f in report.refused] == ["E", "F"]
    with pytest.raises(UnitError) as caught:
        report.raise_for_refused()
    text = str(caught.value)
    assert "2 groups" in text
    assert "'mmol/L' at site E" in text
    assert "'mEq/L' at site F" in text
    assert "site G" not in text
    with pytest.raises(UnitError, match="without a unit at site G"):
        report.raise_for_refused(missing=True)


def test_all_sites_together_are_not_blamed_for_one(catalogue: Catalogue) -> None:
    def group(site: str | None, median: float, iqr: float) -> UnitGroup:
        return UnitGroup("lab.magnesium", "LAB//Mg", "mmol/L", site, 600, median, iqr, 200)

    groups = [group(None, 1.4, 1.1), group("B", 0.8, 0.1), group("E", 2.0, 0.3)]
    report = check_units(groups, catalogue.by_name)
    assert [f.group.site for f in report.refused] == [None, "E"]
    assert [f.group.site for f in report.unfit()] == ["E"]


@pytest.mark.parametrize(("sites", "case_mix"), [(8, 0.03), (8, 0.05), (4, 0.05)])
def test_right_sites_are_rarely_refused(
    catalogue: Catalogue, benchmark: ModuleType, sites: int, case_mix: float
) -> None:
    right, _ = benchmark.simulate(catalogue, draws=DRAWS, sites=sites, case_mix=case_mix)
    assert right.sites == DRAWS * sites
    assert right.compared / right.sites <= 0.005
    assert right.doubtful / right.sites <= 0.03


def test_wrong_sites_are_found_that_the_range_misses(
    catalogue: Catalogue, benchmark: ModuleType
) -> None:
    _, wrong = benchmark.simulate(
        catalogue, draws=DRAWS, sites=8, case_mix=0.03, typical=0.76, swapped=1, seed=1
    )
    missed = wrong.sites - wrong.range
    assert missed > 100
    assert (wrong.compared + wrong.doubtful) / missed > 0.75


@pytest.mark.data
def test_real_groups_of_hospitals_are_never_doubted(
    catalogue: Catalogue, shared_data: Path
) -> None:
    """The eICU demo's hospitals are too small to compare; by region and size they are not."""
    from dataclasses import replace

    import magml
    from magml.features.set_aside import unit_report

    events = magml.open_source("eicu", shared_data / "eicu_demo").materialise()
    events.connection.execute(f"""
        CREATE TEMP TABLE grouped AS
        SELECT e.* REPLACE (CASE WHEN starts_with(e.code, 'SITE//') THEN 'SITE//'
            || coalesce(h.region, '?') || coalesce(h.numbedscategory, '?') ELSE e.code END AS code)
        FROM {events.relation} e
        LEFT JOIN '{shared_data / "eicu_demo" / "hospital.parquet"}' h
          ON starts_with(e.code, 'SITE//')
         AND h.hospitalid::VARCHAR = regexp_extract(e.code, '[0-9]+')
        ORDER BY subject_id""")
    report = unit_report(replace(events, relation="grouped"), catalogue)
    compared = [f for f in report.findings if f.others is not None]
    assert len(compared) > 600
    assert report.refused == report.doubtful == ()
