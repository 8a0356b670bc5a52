"""How many people have each feature: in the terminal, for machines and in the dictionary."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from magml.cli.app import app
from magml.cli.catalogue import catalogue_rows
from magml.definitions import read_catalogue
from magml.errors import InputError
from tests.conftest import ROOT

AT = "2026-03-01"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Write 30 people, of whom 20 have potassium, 12 a thiazide, and 3 diabetes."""
    rows = []
    for person in range(30):
        rows.append((person, "2026-01-01", "GENDER//F", None, None))
        if person < 20:
            rows.append((person, "2026-02-28", "LOINC//2823-3", 4.0, "mmol/L"))
        if person < 12:
            rows.append((person, "2026-02-20", "DRUG//hydrochlorothiazide", None, None))
        if person < 3:
            rows.append((person, "2026-02-20", "ICD10CM//E11.9", None, None))
    table = pd.DataFrame(rows, columns=["subject_id", "time", "code", "numeric_value", "unit"])
    table["time"] = pd.to_datetime(table["time"])
    table.to_parquet(tmp_path / "events.parquet")
    return tmp_path / "events.parquet"


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["features", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_counts_are_of_people_and_small_ones_are_not_told(records: Path) -> None:
    found = json.loads(run("--people", "--events", str(records), "--at", AT, "--json"))
    people = {row["feature"]: row["people"] for row in found["features"]}
    assert people["lab.potassium.last"] == "20"
    # A count of nothing is not to have it.
    assert people["lab.potassium.count.24h"] == "20"
    assert people["medication.thiazide.active"] == "12"
    assert people["comorbidity.diabetes.present"] == "<10"
    assert people["lab.sodium.last"] == "0"
    row = next(r for r in found["features"] if r["feature"] == "lab.potassium.last")
    assert "LOINC//2823-3" in row["codes"]
    assert row["read"]["whang_1984"] == "source"


def test_in_the_terminal_and_in_the_dictionary(records: Path, tmp_path: Path) -> None:
    given = ("--people", "--events", str(records), "--at", AT)
    assert "medication.thiazide.active  12 people" in run(*given, "--domain", "medication")
    page = tmp_path / "dictionary.md"
    run(*given, "--dictionary", str(page))
    text = page.read_text(encoding="utf-8")
    assert "of the 30 with a prediction time" in text
    assert "| `lab.potassium.last` | mmol/L | ever | 20 |" in text


def test_without_records_it_says_what_is_missing() -> None:
    with pytest.raises(InputError, match="--people without records"):
        CliRunner().invoke(app, ["features", "--people"], catch_exceptions=False)


def test_every_claim_of_direction_cites_a_publication_or_says_it_is_unverified() -> None:
    catalogue = read_catalogue(ROOT)
    for name, item in [*catalogue.by_name.items(), *catalogue.derived.items()]:
        if item.direction in ("lowers", "raises", "mixed"):
            assert item.evidence or "No publication" in (item.note or ""), name
    text = run()
    for row in catalogue_rows(None):
        if row["direction"] in ("lowers", "raises"):
            assert row["verified"] or f"{', '.join(row['evidence'])}; unverified)" in text


def test_what_reveals_the_outcome_behind_a_derived_feature_is_told() -> None:
    text = (ROOT / "docs" / "feature-dictionary.md").read_text(encoding="utf-8")
    femg = text.split("`lab.femg`, derived")[1].split("###")[0]
    assert "An input reveals the outcome" in femg
