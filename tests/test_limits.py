"""Limits of what is read: refused with what to do, and raised or lowered in one way."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magml.bundle import load, write_bundle
from magml.definitions.read import read_yaml
from magml.diet import read_food_table
from magml.errors import BundleError, DefinitionError, InputError
from magml.features import build_features, concepts
from magml.fhir.read import open_layout, read_bundle
from magml.limits import VARIABLE, Limits, check_whole, limits
from magml.sources import open_source
from magml.sources.nhanes_files import read_table
from magml.validation import pool
from tests import bundle_parts as parts
from tests.fuzz.seeds import RESOURCES
from tests.xport import write_xport


def lower(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)


def test_limits_are_changed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert limits() == Limits()
    lower(monkeypatch, "document=1.5MB, rows=7,references=2k")
    assert limits() == Limits(document=1_500_000, rows=7, references=2_000)
    for wrong, hint in (("row=7", "did you mean 'rows'"), ("rows=many", "size such as"),
                        ("rows=0", "size such as"), ("rows", "size such as")):  # fmt: skip
        lower(monkeypatch, wrong)
        with pytest.raises(InputError, match=hint):
            limits()


def test_a_document_and_a_line_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = {"resourceType": "Bundle", "entry": [{"resource": one} for one in RESOURCES]}
    one = tmp_path / "bundle.json"
    one.write_text(json.dumps(bundle))
    lines = tmp_path / "all.ndjson"
    lines.write_text("\n".join(json.dumps(resource) for resource in RESOURCES))
    packed = tmp_path / "all.ndjson.gz"
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    size = one.stat().st_size
    longest = max(len(line) for line in lines.read_text().splitlines())
    events = read_bundle(bundle).count()
    # At the limit it is read, one byte below it is not.
    for text, files in ((f"document={size}", (one, lines, packed)),
                        (f"document={longest + 1}", (lines, packed))):  # fmt: skip
        lower(monkeypatch, text)
        for file in files:
            assert open_source("fhir", file).count() == events
    lower(monkeypatch, f"document={size - 1}")
    with pytest.raises(InputError, match=r"MAGML_LIMITS=document=SIZE"):
        open_source("fhir", one)
    lower(monkeypatch, f"document={longest - 1}")
    for file in (lines, packed):
        with pytest.raises(InputError, match=r"line \d+ has more than"):
            open_source("fhir", file)
    with pytest.raises(InputError, match="limit 'document'"):
        pool([one, one])


def test_patients_kept_in_memory_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb

    from magml.fhir import read

    monkeypatch.setattr(read, "_BATCH", 10)
    people = [
        {"resourceType": "Patient", "id": f"p{n}", "birthDate": "1950-06-01"} for n in range(40)
    ]
    lower(monkeypatch, "references=40")
    assert read_bundle(people, duckdb.connect()).count() == 40
    lower(monkeypatch, "references=20")
    with pytest.raises(InputError, match="'references'"):
        read_bundle(people)
    with pytest.raises(InputError, match="'references'"):
        read_bundle([{"resourceType": "Medication", "id": f"m{n}"} for n in range(21)])


def test_tables_read_whole_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame({"food": [f"food {n}" for n in range(500)], "magnesium_mg": 20.0})
    for name in ("foods.csv", "foods.csv.gz"):
        table.to_csv(tmp_path / name, index=False)
    pq.write_table(pa.Table.from_pandas(table), tmp_path / "foods.parquet")
    size = (tmp_path / "foods.csv").stat().st_size
    assert (tmp_path / "foods.csv.gz").stat().st_size < size // 2
    lower(monkeypatch, f"table={size},rows=500")
    for name in ("foods.csv", "foods.csv.gz", "foods.parquet"):
        assert len(read_food_table(tmp_path / name).foods) == 500
    lower(monkeypatch, f"table={size - 1},rows=499")
    for name, which in (("foods.csv", "table"), ("foods.csv.gz", "table"),
                        ("foods.parquet", "rows")):  # fmt: skip
        with pytest.raises(InputError, match=f"MAGML_LIMITS={which}=SIZE"):
            read_food_table(tmp_path / name)
    alike = pa.table({"food": ["x" * 100] * 1000})
    pq.write_table(alike, tmp_path / "alike.parquet", compression="gzip", use_dictionary=False)
    assert (tmp_path / "alike.parquet").stat().st_size < 5_000
    lower(monkeypatch, "table=5000")
    with pytest.raises(InputError, match="unpacked"):
        check_whole(tmp_path / "alike.parquet")
    with zipfile.ZipFile(tmp_path / "foods.zip", "w") as archive:
        archive.writestr("foods.csv", "food,magnesium_mg\na,1\n")
    with pytest.raises(InputError, match="is packed"):
        read_food_table(tmp_path / "foods.zip")
    file = tmp_path / "DEMO_C.XPT"
    write_xport(file, {"SEQN": [1, 2], "RIAGENDR": [1, 2]})
    lower(monkeypatch, "table=100")
    with pytest.raises(InputError, match="limit 'table'"):
        read_table(file, ("RIAGENDR",))
    lower(monkeypatch, "table=100kB")
    assert len(read_table(file, ("RIAGENDR",))) == 2


def test_archives_bundles_and_definitions_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "cdm.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("person.csv", "person_id,year_of_birth\n" + "1,1950\n" * 10_000)
    lower(monkeypatch, "archive=50kB")
    with pytest.raises(InputError, match="MAGML_LIMITS=archive=SIZE"):
        open_source("omop", tmp_path / "cdm.zip")
    bundle = tmp_path / "bundle"
    write_bundle(bundle, parts.contents())
    load(bundle)
    lower(monkeypatch, "bundle=1kB")
    with pytest.raises(BundleError, match="MAGML_LIMITS=bundle=SIZE"):
        load(bundle)
    lower(monkeypatch, "document=100")
    with pytest.raises(BundleError, match="limit 'document'"):
        load(bundle)
    definition = tmp_path / "a.yaml"
    definition.write_text("a: [" + "x, " * 40 + "x]\n")
    for text in ("definition=100", "values=30"):
        lower(monkeypatch, text)
        with pytest.raises(DefinitionError, match=r"more than|larger than"):
            read_yaml(definition)


def test_a_bundle_beyond_a_document_is_not_opened_by_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One export in one line is held to the limit of a line."""
    import duckdb

    (tmp_path / "x.ndjson").write_text(json.dumps(RESOURCES[0]) * 50)
    lower(monkeypatch, "document=1000")
    with pytest.raises(InputError, match="line 1 has more than 1000"):
        open_layout(tmp_path / "x.ndjson", duckdb.connect())


def test_a_plan_forgets_codes_beyond_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concepts, "_REMEMBERED", 50)
    plan = parts.contents().plan
    first = concepts.resolve(plan, "LOINC//2823-3", "mmol/L")
    assert first
    for number in range(400):
        assert concepts.resolve(plan, f"LAB//nobody's {number}", "mg/dL") == ()
        assert len(plan.entries) <= 50
    assert concepts.resolve(plan, "LOINC//2823-3", "mmol/L") == first
    assert concepts.resolve(plan, "LAB//" + "x" * 300, "") == ()
    assert all(len(code) <= 200 for code, _ in plan.entries)


def test_reasons_hold_no_text_of_a_file_and_are_limited() -> None:
    patient = {"resourceType": "Patient", "id": "a", "birthDate": "1950-06-01"}
    strange = [
        {"resourceType": kind, "id": "x"} for kind in ("Jane Doe, ward 7", "X" * 60, "Media")
    ]
    named = "".join(chr(ord("a") + n % 26) for n in range(30))
    many = [{"resourceType": f"T{named[: n % 30]}{chr(97 + n // 30)}"} for n in range(700)]
    doubted = {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/a"},
        "status": "cancelled",
        "verificationStatus": {"coding": [{"code": "Jane Doe"}]},
    }
    notes = read_bundle([patient, *strange, doubted]).notes
    assert not any("Jane" in note or "XX" in note for note in notes)
    assert "2 left out: other: not a resource that is read" in notes
    assert "1 left out: Media: not a resource that is read" in notes
    assert "1 left out: Condition: status cancelled" in notes
    assert len(read_bundle([patient, *many]).notes) <= 201


@pytest.mark.parametrize("column", range(5))
def test_a_damaged_block_is_told_without_path_when_features_meet_it(
    tmp_path: Path, column: int
) -> None:
    """Opening a Parquet file reads its end alone: the blocks are read when features are built."""
    rows, start = 5_000, pd.Timestamp("2025-01-01")
    times = [start + pd.Timedelta(minutes=row) for row in range(rows)]
    table = {
        "subject_id": pa.array([row // 50 for row in range(rows)], pa.int64()),
        "time": pa.array(times, pa.timestamp("us")),
        "code": ["LOINC//2823-3"] * rows,
        "numeric_value": [3.0 + 0.1 * (row % 7) for row in range(rows)],
        "unit": ["mmol/L"] * rows,
    }
    path = tmp_path / "events.parquet"
    pq.write_table(pa.table(table), path)
    wanted = ["lab.potassium.last"]
    assert len(build_features(path, "2026-01-01", features=wanted)) == 100
    content = bytearray(path.read_bytes())
    place = pq.read_metadata(path).row_group(0).column(column).data_page_offset + 20
    content[place : place + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read") as raised:
        build_features(path, "2026-01-01", features=wanted)
    assert str(tmp_path) not in str(raised.value)
