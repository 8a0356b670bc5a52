"""The check on the open data sets: it finds the traps that are known of them, with their counts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from magml.checks import CheckReport, check
from magml.sources import open_source
from tests.test_cli import magml

pytestmark = pytest.mark.data


def read(folder: Path, name: str) -> pd.DataFrame:
    with gzip.open(folder / f"{name}.csv.gz", "rt") as handle:
        return pd.read_csv(handle, dtype=str)


def count(report: CheckReport, kind: str) -> int:
    found = report.of_kind(kind)
    return found[0].count if found else 0


def test_mimic_diagnoses_stand_at_the_start_of_their_visit(shared_data: Path) -> None:
    folder = shared_data / "omop_mimic4_demo"
    conditions, visits = read(folder, "condition_occurrence"), read(folder, "visit_occurrence")
    joined = conditions.merge(visits, on="visit_occurrence_id")
    at_start = joined["condition_start_datetime"] == joined["visit_start_datetime"]
    billed = joined["condition_type_concept_id"] == "32821"
    report = check(open_source("omop", folder, source_vocabularies={"condition_occurrence": "ICD"}))
    finding = report.of_kind("diagnoses_at_visit_start")[0]
    assert finding.count == at_start.sum() == 3806
    by_name = {item.name: item.count for item in finding.items}
    # 99% of the billed codes; the source lets none of them be known before the visit's end.
    assert by_name["ICD10CM"] + by_name["ICD9CM"] == (at_start & billed).sum() == 3806
    assert 3806 / billed.sum() == pytest.approx(0.993, abs=5e-4)
    assert by_name["of these known before the visit's end"] == 0
    assert finding.severity == "info"
    # measurement and observation are absent.
    assert report.of_kind("no_magnesium")
    empty = [name for x in report.of_kind("domain_empty") for name in x.concepts]
    assert {name.split(".")[0] for name in empty} == {
        "lab",
        "vital",
        "diet",
        "genetic",
        "microbiome",
    }
    assert any("tables not found: measurement" in note for note in report.notes)


def test_mimic_without_vocabularies_shows_which_ones_are_meant(shared_data: Path) -> None:
    report = check(open_source("omop", shared_data / "omop_mimic4_demo"))
    similar = {code.code: code for code in report.unmapped if code.resembles}
    assert similar["CONDITION//4019"].why == "as ICD9CM//4019"
    assert similar["CONDITION//E785"].why == "as ICD10CM//E785"


def test_synthea_times_are_all_midnight(shared_data: Path) -> None:
    report = check(
        open_source("omop", shared_data / "omop_synthea27" / "Synthea27NjParquet_5.4.zip")
    )
    finding = report.of_kind("midnight")[0]
    assert finding.severity == "warning"
    assert finding.share == 1.0
    assert finding.count >= 10040  # the measurements alone
    assert report.people == 28
    magnesium = [line for line in report.units if line.concept == "lab.magnesium"]
    assert [(x.code, x.unit, x.values, x.status) for x in magnesium] == [
        ("LOINC//19123-9", "mg/dL", 12, "too few")
    ]


def test_nhanes1_is_in_milliequivalents(shared_data: Path) -> None:
    given = pd.read_csv(shared_data / "nhanes1" / "subset_X.csv")["Serum Magnesium"].dropna()
    report = check(open_source("nhanes1", shared_data / "nhanes1"))
    assert report.people == 9932
    line = next(line for line in report.units if line.concept == "lab.magnesium")
    assert (line.unit, line.status, line.values) == ("meq/L", "ok", len(given))
    assert line.median == pytest.approx(given.median())
    empty = {x.concepts[0].split(".")[0] for x in report.of_kind("domain_empty")}
    assert {"medication", "comorbidity", "procedure"} <= empty


def test_physionet_in_mmol_is_refused(shared_data: Path, tmp_path: Path) -> None:
    done = magml(
        "check", "--source", "physionet2012", "--data", str(shared_data / "physionet2012"),
        "--option", "units={LAB//Mg: mmol/L}", "--json", "--html", "page.html", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    refused = [x for x in report["findings"] if x["kind"] == "unit_refused"]
    assert [(x["severity"], x["count"], x["concepts"]) for x in refused] == [
        ("error", 27315, ["lab.magnesium"])
    ]
    line = next(x for x in report["units"] if x["code"] == "LAB//Mg")
    assert (line["median"], line["fitting"]) == (2.0, ["mg/dL"])
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
