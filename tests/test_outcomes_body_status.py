"""Body-status outcomes: bounds as published, nobody healthy for want of a test, no circularity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from magml.definitions import read_catalogue, read_model, read_outcome
from magml.definitions.body_status import LEVELS, level_of
from magml.definitions.read import parse_outcome
from magml.errors import DefinitionError, InputError, UnitError
from magml.experiments.inputs import model_features
from magml.experiments.prepare import cohort_rows
from magml.experiments.study import read_definitions
from magml.outcomes import Measured, check_features, excluded_features, label_status
from tests.conftest import ROOT

NAN = float("nan")
SHIPPED = sorted(path.stem for path in (ROOT / "models" / "outcomes").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_outcome_reads_and_says_what_it_is_worth(name: str) -> None:
    found = read_outcome(name)
    assert found.name == name
    assert found.source
    assert level_of(found) is LEVELS[found.kind]


def test_retention_above_the_97th_percentile_of_healthy_adults() -> None:
    # Gullestad 1994: 2.5 to 97.5 percentiles -19.5 to 27.5%.
    given = {"loading_test_retention": Measured([-19.5, 6.3, 27.5, 27.6, NAN], "%")}
    found = label_status(read_outcome("loading_test_retention"), given)
    assert found.status[:4].tolist() == [0, 0, 0, 1]
    assert np.isnan(found.status[4])
    assert (found.cases, found.known, found.unknown) == (1, 4, {"loading_test_retention": 1})
    assert found.level.label == "measured reference"


def test_nielsens_rule_in_every_unit_it_states() -> None:
    rule = read_outcome("nielsen_2016")
    given = {
        "magnesium_intake": Measured([249.0, 249.0, 249.0, 250.0], "mg/day"),
        "urine_magnesium_24h": Measured(
            [79.0, 3.28, 80.0, 10.0], ["mg/d", "mmol/d"] + ["mg/d"] * 2
        ),
        "serum_magnesium": Measured([0.84, 2.0, 1.0, 1.0], ["mmol/L", "mg/dL", "mmol/L", "mmol/L"]),
    }
    assert label_status(rule, given).status.tolist() == [1, 1, 0, 0]


def test_a_missing_measure_makes_nobody_healthy_or_ill() -> None:
    rule = read_outcome("nielsen_2016")
    given = {
        "magnesium_intake": Measured([200.0, 200.0, 300.0], "mg/d"),
        "urine_magnesium_24h": Measured([NAN, NAN, NAN], "mg/d"),
        "serum_magnesium": Measured([0.8, 0.9, NAN], "mmol/L"),
    }
    # Unknown; serum settles it; intake settles it.
    found = label_status(rule, given)
    assert np.isnan(found.status[0])
    assert found.status[1:].tolist() == [0, 0]


def test_costellos_band_has_two_ends() -> None:
    rule = read_outcome("costello_2016")
    assert not rule.verified
    given = {
        "serum_magnesium": Measured([0.74, 0.75, 0.849, 0.85], "mmol/L"),
        "urine_magnesium_24h": Measured([60.0, 40.0, 80.0, 60.0], "mg/d"),
    }
    assert label_status(rule, given).status.tolist() == [0, 1, 1, 0]


def test_red_cells_are_judged_by_the_laboratorys_own_limit() -> None:
    rule = read_outcome("red_cell_low")
    given = Measured([4.0, 4.0, 4.0], "mg/dL", laboratory_low=[4.2, 3.6, NAN])
    found = label_status(rule, {"red_cell_magnesium": given}).status
    assert found[:2].tolist() == [1, 0]
    assert np.isnan(found[2])
    with pytest.raises(InputError, match="lower limit"):
        label_status(rule, {"red_cell_magnesium": Measured([4.0], "mg/dL")})


def test_a_value_without_a_bound_in_its_unit_is_refused() -> None:
    rule = read_outcome("ionised_low")
    with pytest.raises(UnitError, match="mg/dL"):
        label_status(rule, {"ionised_magnesium": Measured([1.0], "mg/dL")})
    with pytest.raises(InputError, match="not given"):
        label_status(rule, {})


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "measured_reference", "criterion": {"measure": "serum_magnesium"}},
        {
            "kind": "composite",
            "all": [{"measure": "serum_magnesium"}, {"measure": "calcium_magnesium_ratio"}],
        },
        {
            "kind": "composite",
            "all": [{"measure": "serum_magnesium"}, {"measure": "serum_magnesium"}],
        },
    ],
)
def test_serum_alone_is_refused_with_the_reason(content: dict) -> None:
    parts = content.get("all") or [content["criterion"]]
    for part in parts:
        part["below"] = {"mmol/L": 0.85}
    with pytest.raises(DefinitionError, match=r"serum magnesium alone.*0\.3%"):
        parse_outcome({"name": "x", "title": "x", "source": "x", **content})


def test_an_indicator_may_not_stand_twice() -> None:
    indicator = {"measure": "magnesium_intake", "depleted": "low"}
    content = {"kind": "latent_class", "name": "x", "title": "x", "source": "x"}
    with pytest.raises(DefinitionError, match="twice"):
        parse_outcome({**content, "indicators": [indicator] * 3})


@pytest.mark.parametrize("name", SHIPPED)
def test_what_defines_an_outcome_is_never_a_feature(name: str) -> None:
    catalogue, outcome = read_catalogue(), read_outcome(name)
    expected = {
        "serum_magnesium": "lab.magnesium.last",
        "ionised_magnesium": "lab.magnesium_ionised.last",
        "red_cell_magnesium": "lab.magnesium_red_cell.last",
        "urine_magnesium_24h": "lab.magnesium_urine.last",
        "loading_test_retention": "lab.magnesium_urine.last",
    }
    excluded = excluded_features(outcome, catalogue)
    for measure in outcome.measures:
        if measure in expected:
            assert expected[measure] in excluded
            with pytest.raises(DefinitionError, match="would see"):
                check_features(outcome, ["lab.potassium.last", expected[measure]], catalogue)
    check_features(outcome, ["lab.potassium.last", "demographic.age.years"], catalogue)
    if "magnesium_intake" in outcome.measures:
        assert any(name.startswith("diet.magnesium") for name in excluded)
        # Derived from intake, through its inputs.
        assert any("absorbed_magnesium" in name for name in excluded)


def status_model(folder: Path, outcome: str, **more: object) -> Path:
    content = yaml.safe_load((ROOT / "models" / "hypomagnesemia_follow.yaml").read_text())
    content |= {"name": "status", "title": "Low body status"}
    content["outcome"] = {"kind": "body_status", "definition": outcome, **more}
    (folder / "models").mkdir(parents=True, exist_ok=True)
    path = folder / "models" / "status.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_model_of_body_status_holds_its_definition_and_leaves_it_out(tmp_path: Path) -> None:
    catalogue = read_catalogue()
    model = read_model(status_model(tmp_path, "nielsen_2016"))
    assert model.outcome.definition.measures[0] == "magnesium_intake"
    seen = model_features(catalogue, model)
    assert not excluded_features(read_outcome("nielsen_2016"), catalogue) & set(seen)
    serum = model_features(catalogue, read_model(status_model(tmp_path, "loading_test_retention")))
    assert "lab.magnesium.last" in serum  # serum does not define this one
    assert "lab.magnesium_urine.last" not in serum


def test_labels_of_simulated_people_carry_the_simulators_level(tmp_path: Path) -> None:
    path = status_model(tmp_path, "loading_test_retention", labels="simulated")
    assert read_model(path).outcome.level.label == "simulator recovery"


def test_a_cohort_cannot_label_body_status(tmp_path: Path) -> None:
    found = read_definitions("demo", by_labels=False)
    model = read_model(status_model(tmp_path, "nielsen_2016"))
    with pytest.raises(DefinitionError, match="cannot label"):
        cohort_rows(found.experiment, model, found.catalogue, None)  # type: ignore[arg-type]


def test_the_level_of_evidence_travels_into_the_card(tmp_path: Path) -> None:
    import magml
    from magml.simulation import generate_hospital

    content = yaml.safe_load(status_model(tmp_path, "costello_2016").read_text())
    content["estimator"] = {"members": 2, "rounds": 20}
    content["calibration"] = {"methods": ["logistic"], "folds": 2}
    (tmp_path / "models" / "status.yaml").write_text(yaml.safe_dump(content))
    import pandas as pd

    events = generate_hospital(300, seed=3).events.to_pandas()
    ids = np.unique(events["subject_id"])
    labels = pd.DataFrame(
        {
            "subject_id": ids,
            "prediction_time": events["time"].max(),
            "boolean_value": np.random.default_rng(0).random(len(ids)) < 0.3,
        }
    )
    result = magml.train(
        tmp_path / "models" / "status.yaml", events=events, labels=labels, out=tmp_path / "runs",
        quick=True, threads=1, track=False, workspace=tmp_path,
    )  # fmt: skip
    card = (result.bundle / "card.md").read_text()
    assert "composite rule" in card
    assert "not checked in the source" in card
    assert magml.load(result.bundle).definition.outcome.level.rank == 2
