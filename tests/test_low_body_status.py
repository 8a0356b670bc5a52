"""The model of body status: trained in simulated worlds, shipped, recalibrated on the measured."""

from __future__ import annotations

import json

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

import magml
from magml.definitions import read_catalogue, read_experiment, read_model
from magml.errors import DefinitionError, InputError
from magml.experiments.simulated import read_simulation, simulated_rows
from magml.features.names import matches
from magml.outcomes import excluded_concepts
from magml.simulation.institutions import draw_institutions, read_institutions, seen_through


@pytest.fixture(scope="module")
def world():
    return magml.simulate(60, 5, world=0, split="development")


def _experiment(**options):
    experiment = read_experiment("low_body_status")
    source = experiment.source
    changed = source.model_copy(update={"options": {**source.options, **options}})
    return experiment.model_copy(update={"source": changed})


def test_an_institution_has_its_domains_and_nothing_else(world):
    institutions, catalogue = read_institutions(), read_catalogue()
    subjects = world.truth["subject_id"].to_numpy()
    for name, item in institutions.items():
        seen = seen_through(world.events, subjects, name, institutions, catalogue)
        concepts = {c for code in set(seen["code"].to_pylist()) for c in matches(catalogue, code)}
        domains = {concept.partition(".")[0] for concept in concepts}
        assert domains <= {*item.domains, "demographic"}
        assert "medication" in domains
        measured = "lab.magnesium" in concepts
        assert measured == (name in ("whole_record", "hospital"))
        people = duckdb.sql("SELECT count(DISTINCT subject_id) FROM seen").fetchall()[0][0]
        assert people == len(subjects)  # birth and sex stay


def test_a_survey_measures_once_and_last(world):
    institutions, catalogue = read_institutions(), read_catalogue()
    subjects = world.truth["subject_id"].to_numpy()
    seen = seen_through(world.events, subjects, "survey", institutions, catalogue).to_pandas()
    records = world.events.to_pandas()
    potassium = seen[seen["code"] == "LOINC//2823-3"].set_index("subject_id")["time"]
    last = records[records["code"] == "LOINC//2823-3"].groupby("subject_id")["time"].max()
    assert len(last) < (records["code"] == "LOINC//2823-3").sum()
    pd.testing.assert_series_equal(
        potassium.sort_index(), last.sort_index(), check_names=False, check_dtype=False
    )


def test_shares_of_institutions_are_drawn_as_stated():
    institutions = read_institutions()
    drawn = draw_institutions(np.random.default_rng(1), 20_000, institutions)
    for name, item in institutions.items():
        # Within four standard errors of a share.
        assert abs((drawn == name).mean() - item.share) < 4 * np.sqrt(0.25 / 20_000)


def test_an_unknown_institution_is_refused(world):
    with pytest.raises(InputError, match="did you mean 'hospital'"):
        seen_through(world.events, np.array([1]), "hospitl", read_institutions(), read_catalogue())


def test_rows_are_worlds_of_people_in_whom_the_test_is_valid():
    rows = simulated_rows(
        _experiment(worlds=2, people=160),
        read_model("low_body_status"),
        read_catalogue(),
    )
    truth = []
    for world in (0, 1):
        for number, setting in enumerate(("hospital", "community")):
            made = magml.simulate(
                80, 20260324 + number, world=world, split="training", setting=setting
            ).truth
            block = 2 * world + number
            truth.append(made.assign(subject_id=made["subject_id"] + block * 1_000_000, w=world))
    whole = pd.concat(truth)
    valid = whole[whole["gfr"] >= 60].set_index("subject_id")
    assert set(rows.persons) == set(valid.index)
    labels = valid.loc[rows.persons]
    np.testing.assert_array_equal(rows.labels, (labels["retention"] > 0.275).astype(int))
    np.testing.assert_array_equal(rows.sites, [f"world {w}" for w in labels["w"]])
    assert rows.attrition[-1].left_out == len(whole) - len(valid)


def test_other_tables_than_the_frozen_are_refused():
    with pytest.raises(DefinitionError, match="frozen before the training"):
        read_simulation(_experiment(parameters="0" * 64))


def test_test_worlds_train_nothing():
    with pytest.raises(DefinitionError, match="split"):
        read_simulation(_experiment(split="test"))


def test_a_model_of_serum_has_no_simulated_labels():
    with pytest.raises(DefinitionError, match="labels: simulated"):
        simulated_rows(_experiment(), read_model("hypomagnesemia_screen"), read_catalogue())


def test_data_beside_a_simulation_are_refused(tmp_path):
    with pytest.raises(InputError, match="records are simulated"):
        magml.train("low_body_status", data=tmp_path, out=tmp_path, track=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small training through the same path as the shipped one."""
    folder = tmp_path_factory.mktemp("status")
    (folder / "experiments").mkdir()
    (folder / "models").mkdir()
    experiment = _experiment(worlds=4, people=200).model_dump(mode="json")
    experiment["validation"] |= {"folds": 2, "replicates": 100}
    model = read_model("low_body_status").model_dump(mode="json")
    model["estimator"] |= {"members": 2, "rounds": 20}
    model["outcome"]["definition"] = "loading_test_retention"
    (folder / "experiments" / "low_body_status.yaml").write_text(yaml.safe_dump(experiment))
    (folder / "models" / "low_body_status.yaml").write_text(yaml.safe_dump(model))
    path = folder / "experiments" / "low_body_status.yaml"
    results = [
        magml.train(path, out=folder / out, track=False, quick=True, threads=threads)
        for out, threads in (("one", 1), ("two", 2))
    ]
    return [result.bundle for result in results]


def test_equal_training_gives_equal_bytes(trained):
    one, two = (
        {p.relative_to(b): p.read_bytes() for p in b.rglob("*") if p.is_file()} for b in trained
    )
    assert one == two


def test_the_bundle_says_what_its_scores_rest_on(trained, world):
    model = magml.load(trained[0])
    assert model.training["data"]["simulator"] == read_experiment(
        "low_body_status"
    ).source.options["parameters"]  # fmt: skip
    assert model.card["evidence"]["label"] == "simulator recovery"
    assert "never clinical performance" in model.card_text
    scores = model.score(world.events, world.truth[["subject_id", "prediction_time"]])
    assert scores["warnings"].str.contains("evidence: simulator recovery").all()
    egfr = magml.build_features(
        world.events, world.truth[["subject_id", "prediction_time"]]
    )["lab.egfr"]  # fmt: skip
    warned = scores["warnings"].str.contains("filtration below 60").to_numpy()
    np.testing.assert_array_equal(warned, (egfr < 60).to_numpy())


def test_the_model_sees_nothing_of_its_outcome(trained):
    model = magml.load(trained[0])
    seen, queue = set(), list(model.features)
    while queue:
        feature = model.catalogue.features[queue.pop()]
        if feature.derived:
            queue += model.catalogue.derived[feature.name].input_names
        else:
            seen.add(feature.concept)
    assert "lab.magnesium" in seen
    assert not seen & excluded_concepts(model.definition.outcome.definition, model.catalogue)
    assert not [name for name in seen if name.startswith("medication.magnesium")]


def test_recalibration_on_measured_people_is_said_in_every_score(trained, tmp_path):
    made = magml.simulate(500, 11, world=1, split="development")
    valid = made.truth[made.truth["gfr"] >= 60].head(300)
    labels = valid[["subject_id", "prediction_time"]].assign(boolean_value=valid["depleted"])
    found = magml.recalibrate(
        trained[0],
        out=tmp_path / "ours",
        method="slope",
        events=made.events,
        labels=labels,
        replicates=20,
    )
    assert found.people == 300
    scores = magml.load(tmp_path / "ours").score(
        made.events, valid[["subject_id", "prediction_time"]]
    )
    assert scores["warnings"].str.contains("recalibrated on 300 people").all()
    card = json.loads((tmp_path / "ours" / "card.json").read_text())
    assert card["recalibrations"][0]["n"] == 300
