"""Definitions: what they hold, and what a mistake in one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from magml.clock import seconds
from magml.definitions import definition_hash, read_catalogue, read_experiment, read_model
from magml.errors import DefinitionError

LAB = """
domain: lab
defaults:
  measurement: {24h: [last], ever: [count]}
concepts:
  magnesium: {label: Magnesium, kind: measurement, unit: mmol/L, codes: [LOINC//19123-9]}
derived:
  twice: {label: Twice, formula: sum, inputs: [lab.magnesium.last.24h, lab.magnesium.last.24h]}
"""
MODEL = """
name: m
title: t
intended_use: u
screening: true
outcome: {kind: serum_below, concept: lab.magnesium, threshold: {mg/dL: 1.7}, time_at_risk: 24h}
features: {domains: [lab]}
bands: [{name: low, at_least: 0}]
"""


def workspace(folder: Path, lab: str = LAB, model: str = MODEL) -> Path:
    for name, text in (("features/labs.yaml", lab), ("models/m.yaml", model)):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def test_names_of_features_follow_the_rule(tmp_path: Path) -> None:
    catalogue = read_catalogue(workspace(tmp_path))
    assert list(catalogue.features) == [
        "lab.magnesium.last.24h",
        "lab.magnesium.count",
        "lab.twice",
    ]
    assert catalogue.features["lab.magnesium.last.24h"].unit == "mmol/L"
    assert catalogue.features["lab.magnesium.count"].unit == "1"


def test_the_workspace_comes_before_the_checkout(tmp_path: Path) -> None:
    assert read_model("m", workspace(tmp_path)).name == "m"
    assert read_experiment("demo", tmp_path).name == "demo"  # falls back to the shipped one


@pytest.mark.parametrize(
    ("lab", "told"),
    [
        (LAB.replace("label: Magnesium", "lable: Magnesium"), "lable.*did you mean 'label'"),
        (LAB.replace("24h: [last]", "24h: [lsat]"), "'lsat' does not exist"),
        (LAB.replace("24h:", "1 day:"), "is not a duration"),
        (LAB.replace("[lab.magnesium.last.24h,", "[lab.magnesium.last.25h,"), "last.24h'\\?"),
        (LAB + "  twice: {}\n", "stands twice"),
        (LAB.replace("unit: mmol/L", "evidence: [nobody]"), "unit"),
        (LAB.replace("codes:", "evidence: [nobody], codes:"), "cites 'nobody'"),
        ("domain: lab\nconcepts: [", "line"),
        ("domain: labs\n", "labs.yaml: domain"),
    ],
)
def test_a_mistake_names_file_key_and_nearest(tmp_path: Path, lab: str, told: str) -> None:
    with pytest.raises(DefinitionError, match=told) as caught:
        read_catalogue(workspace(tmp_path, lab=lab))
    assert "features" in str(caught.value) or "labs.yaml" in str(caught.value)


def test_an_unknown_key_of_a_model_names_the_nearest(tmp_path: Path) -> None:
    text = MODEL.replace("time_at_risk", "time_to_risk")
    with pytest.raises(DefinitionError, match=r"models/m.yaml.*did you mean 'time_at_risk'"):
        read_model("m", workspace(tmp_path, model=text))


def test_an_unknown_definition_names_the_nearest() -> None:
    with pytest.raises(DefinitionError, match="did you mean 'eicu_follow'"):
        read_experiment("eicu_folow")


def test_bands_start_at_zero_and_rise(tmp_path: Path) -> None:
    for wrong in ("{name: low, at_least: 0.1}", "{name: a, at_least: 0}, {name: b, at_least: 0}"):
        text = MODEL.replace("{name: low, at_least: 0}", wrong)
        with pytest.raises(DefinitionError, match="bands start at 0"):
            read_model("m", workspace(tmp_path, model=text))


def test_the_hash_is_of_the_meaning_not_of_the_writing(tmp_path: Path) -> None:
    first = definition_hash(read_model("m", workspace(tmp_path)))
    respelled = "# a comment\n" + MODEL.replace("title: t", "title: 't'")
    assert definition_hash(read_model("m", workspace(tmp_path, model=respelled))) == first
    other = MODEL.replace("1.7", "1.8")
    assert definition_hash(read_model("m", workspace(tmp_path, model=other))) != first


@pytest.mark.parametrize(
    "name", ["physionet2012_screen", "physionet2012_follow", "eicu_screen", "eicu_follow", "demo"]
)
def test_every_shipped_experiment_has_its_model(name: str) -> None:
    experiment = read_experiment(name)
    model = read_model(experiment.model)
    assert experiment.name == name
    assert model.screening == (experiment.cohort.measured_before == "none")
    # 0.70 mmol/L, 1.7 mg/dL and 1.40 mEq/L: DESIGN's default and the field's usual threshold.
    assert model.outcome.threshold == {"mmol/L": 0.70, "mg/dL": 1.7, "mEq/L": 1.40}


@pytest.mark.parametrize(("text", "expected"), [("90min", 5400), ("1d", 86400), ("2w", 1209600)])
def test_durations(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "6", "h", "-6h", "6 hours"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="not a duration"):
        seconds(text)
