"""Simulated records as OMOP and MEDS, read back through magml's own layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

import magml
from magml.cli.app import app
from magml.errors import InputError
from magml.events import read_events
from magml.experiments.fingerprint import data_fingerprint
from magml.sources import open_source

PEOPLE, DAYS = 400, 300


@pytest.fixture(scope="module")
def world() -> magml.simulation.world.World:
    return magml.simulate(PEOPLE, seed=5, world=1, split="development", days=DAYS)


@pytest.fixture(scope="module")
def folders(world, tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("formats")
    return {name: world.write(place / name, name) for name in ("omop", "meds")}


def features(source, at: pd.DataFrame) -> pd.DataFrame:
    return magml.build_features(source, at).drop(columns=["subject_id", "prediction_time"])


def opened(folder: Path):
    source = yaml.safe_load((folder / "source.yaml").read_text())["source"]
    return open_source(source["layout"], folder / "records", **source.get("options", {}))


def differing(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """Return the features that differ in anybody beyond single precision."""
    assert list(one.columns) == list(other.columns)
    return [
        name
        for name in one.columns
        if not np.allclose(one[name], other[name], rtol=2e-5, atol=1e-4, equal_nan=True)
    ]


def test_records_say_of_themselves_that_they_are_simulated(world, folders, tmp_path) -> None:
    folders = folders | {"events": world.write(tmp_path / "events")}
    for folder in folders.values():
        assert data_fingerprint(opened(folder))["simulated"] is True
    assert data_fingerprint(read_events(world.events))["simulated"] is True
    # What a hospital writes has no such mark, and is not called simulated.
    plain = world.events.replace_schema_metadata(None)
    pq.write_table(plain, tmp_path / "plain.parquet")
    assert "simulated" not in data_fingerprint(read_events(tmp_path / "plain.parquet"))
    assert "simulated" not in data_fingerprint(read_events(plain))


@pytest.mark.parametrize("days", [120, DAYS])
def test_meds_loses_nothing(world, folders, days: int) -> None:
    at = world.truth[["subject_id"]].copy()
    at["prediction_time"] = pd.Timestamp("2023-01-01") + pd.Timedelta(days=days, hours=9)
    assert not differing(features(world.events, at), features(opened(folders["meds"]), at))


def test_omop_loses_only_when_things_were_known(world, folders) -> None:
    """Two months after the last record everything is known, by whatever rule."""
    at = world.truth[["subject_id"]].copy()
    at["prediction_time"] = pd.Timestamp("2023-01-01") + pd.Timedelta(days=DAYS + 60)
    own, read = features(world.events, at), features(opened(folders["omop"]), at)
    assert own["lab.potassium.last"].notna().mean() > 0.5
    assert own["diet.magnesium.mean.365d"].notna().sum() > 20
    assert not differing(own, read)


def test_omop_knows_a_result_an_hour_after_the_sample(world, folders) -> None:
    """Stated loss: at any time the two may differ, but only by what was on its way."""
    events = opened(folders["omop"])
    delay = events.connection.execute(
        f"SELECT DISTINCT known_time - time FROM {events.relation} WHERE code = 'LOINC//2823-3'"
    ).fetchall()
    assert [row[0].total_seconds() for row in delay] == [3600]


def test_the_cdm_holds_what_its_specification_demands(folders) -> None:
    tables = {p.stem: pq.read_table(p).to_pandas() for p in (folders["omop"] / "records").iterdir()}
    person = tables["person"]
    assert len(person) == PEOPLE
    assert person["person_id"].is_unique
    for table, column in (("visit_occurrence", "person_id"), ("measurement", "person_id")):
        assert tables[table][column].isin(person["person_id"]).all()
    visits = tables["visit_occurrence"]["visit_occurrence_id"]
    assert visits.is_unique
    for table in ("condition_occurrence", "measurement", "observation", "visit_detail"):
        assert tables[table]["visit_occurrence_id"].isin(visits).all()
    for table, stem in (("measurement", "measurement"), ("drug_exposure", "drug_exposure")):
        assert tables[table][f"{stem}_id"].is_unique
    stays = tables["visit_occurrence"].dropna(subset=["visit_end_datetime"])
    assert (stays["visit_end_datetime"] > stays["visit_start_datetime"]).all()
    assert tables["cdm_source"]["cdm_version"].tolist() == ["5.4"]


def test_the_data_set_follows_the_meds_schema(folders) -> None:
    table = pq.read_table(folders["meds"] / "records" / "data" / "0.parquet")
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["subject_id"] == "int64"
    assert kinds["time"] == "timestamp[us]"
    assert kinds["code"] == "string"
    assert kinds["numeric_value"] == "float"
    frame = table.select(["subject_id", "time"]).to_pandas()
    moment = frame["time"].to_numpy().astype("datetime64[us]").astype(np.int64)  # null: the least
    order = np.lexsort((moment, frame["subject_id"]))
    assert (order == np.arange(len(frame))).all()
    codes = pq.read_table(folders["meds"] / "records" / "metadata" / "codes.parquet")
    assert set(codes["code"].to_pylist()) == set(table["code"].to_pylist())


def test_the_command_writes_either_and_refuses_another(tmp_path: Path) -> None:
    run = CliRunner()
    base = ["simulate", "--subjects", "30", "--days", "40", "--json", "--out"]
    done = run.invoke(app, [*base, str(tmp_path / "a"), "--format", "omop"])
    assert json.loads(done.stdout)["format"] == "omop"
    assert (tmp_path / "a" / "records" / "person.parquet").is_file()
    assert not list((tmp_path / "a" / "records").glob("truth*"))
    bad = run.invoke(app, [*base, str(tmp_path / "b"), "--format", "fhir"])
    assert isinstance(bad.exception, InputError)
    assert not (tmp_path / "b").exists()
