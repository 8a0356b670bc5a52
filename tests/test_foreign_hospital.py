"""A hospital that nobody prepared reaches a first model by its mapping file alone.

Spanish tables: Latin-1, semicolons, decimal commas, day before month, text ids, local test and
drug names, no column of units, and magnesium in another unit in each of two houses. The mapping
is written from ``docs/plain-tables.md`` and the steps are those of ``docs/getting-started.md``.
The expected counts come from the generator's own arrays, in pandas, without magml.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

import magml
from magml.errors import UnitError
from magml.experiments import train
from tests.foreign_hospital import (
    EXPERIMENT,
    MAPPING,
    Hospital,
    closing,
    expected,
    export,
    generate,
)


@pytest.fixture(scope="module")
def hospital() -> tuple[Hospital, pd.DataFrame, pd.DataFrame]:
    return generate(seed=8)


@pytest.fixture(scope="module")
def workspace(hospital, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace as `magml init` makes it, its mapping written; records beside it."""
    top = tmp_path_factory.mktemp("foreign")
    export(*hospital, top / "hospital")
    # Without --data: guessing a mapping reads UTF-8 alone, and two of these tables are Latin-1.
    made = magml.init(top / "ours")
    (made.folder / "mapping.yaml").write_text(MAPPING, encoding="utf-8")
    # Small enough for a test.
    path = made.folder / "models" / "hypomagnesemia_screen.yaml"
    model = yaml.safe_load(path.read_text())
    model["estimator"] = {"members": 3, "rounds": 60}
    model["calibration"] = {"methods": ["logistic"], "folds": 2}
    path.write_text(yaml.safe_dump(model))
    return made.folder


def study(workspace: Path, name: str, mapping: str, out: Path):
    """Train from inside the workspace, as the documentation does."""
    path = workspace / "experiments" / f"{name}.yaml"
    path.write_text(EXPERIMENT.format(name=name, mapping=mapping))
    with contextlib.chdir(workspace):
        return train(
            f"experiments/{name}.yaml", data="../hospital", out=out, quick=True, track=False
        )


@pytest.fixture(scope="module")
def run(workspace: Path, tmp_path_factory: pytest.TempPathFactory):
    return study(workspace, "foreign", "mapping.yaml", tmp_path_factory.mktemp("runs"))


def test_people_and_cases_are_those_counted_by_hand(run, hospital) -> None:
    by_hand = expected(hospital[0])
    events = int(by_hand["low"].sum())
    assert events >= 60
    # Converting first would count 1.7 mg/dL (0.6994 mmol/L) as low: the two must differ here.
    assert by_hand["low_if_converted"].sum() > events
    assert (run.metrics["n"], run.metrics["events"]) == (len(by_hand), events)


def test_the_model_finds_what_the_hospital_recorded(run) -> None:
    assert run.metrics["auroc"]["low"] > 0.5


def test_conversions_and_unknown_codes_are_reported(run, hospital) -> None:
    units = json.loads((run.folder / "results" / "units.json").read_text())
    by_hand, labs = expected(hospital[0]), hospital[0].labs
    seen = labs.merge(by_hand[["id", "at"]], on="id")
    seen = seen[closing(seen["known"]) < seen["at"]]
    # Both are stated in mg/dL; potassium's mEq/L is mmol/L by another name.
    assert units["converted"]["lab.creatinine"] == (seen["test"] == "CREA_S").sum() > 0
    assert units["converted"]["lab.calcium"] == (seen["test"] == "CA_S").sum()
    assert units["mapped"]["lab.potassium"] == (seen["test"] == "K_S").sum()
    assert units["rejected"] == []
    assert {"ATC//N02BE01", "CONDITION//URG-17"} <= set(units["commonest_unmapped"])


def wrong_mapping(workspace: Path, unit: str, wrong: str, test: str) -> str:
    """Write the mapping with the unit of one test misstated; return its file's name."""
    right = f"unit: {unit}\n        when: {{prueba: [{test}]"
    assert MAPPING.count(right) == 1
    name = f"wrong_{test.lower()}.yaml"
    content = MAPPING.replace(right, right.replace(unit, wrong, 1))
    (workspace / name).write_text(content, encoding="utf-8")
    return name


def test_a_wrong_unit_of_a_predictor_stops_training(workspace: Path, tmp_path: Path) -> None:
    mapping = wrong_mapping(workspace, "meq/L", "mg/dL", "K_S")
    with pytest.raises(UnitError, match="LOINC//2823-3 in 'mg/dL'"):
        study(workspace, "wrong", mapping, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wrong_unit_of_magnesium_is_found_by_the_check(workspace: Path) -> None:
    data = workspace.parent / "hospital"

    def refused(mapping: str) -> str:
        report = magml.check(magml.open_source("plain", data, mapping=workspace / mapping))
        return str(report.of_kind("unit_refused"))

    assert "LOINC//19123-9" not in refused("mapping.yaml")
    assert "LOINC//19123-9" in refused(wrong_mapping(workspace, "mmol/L", "mg/dL", "MG_S"))


def test_a_wrong_unit_of_magnesium_stops_training(workspace: Path, tmp_path: Path) -> None:
    mapping = wrong_mapping(workspace, "mmol/L", "mg/dL", "MG_S")
    with pytest.raises(UnitError, match="LOINC//19123-9 in 'mg/dL'"):
        study(workspace, "wrong", mapping, tmp_path / "out")
    assert not (tmp_path / "out").exists()
