"""What must hold for every explained row, on synthetic and on real records.

Contributions add up on both scales, domains equal the sums of their features, and the rows of
evidence, given alone to the slow builder of the tests, give back the value they are to explain.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import magml
from magml.bundle import Model
from magml.definitions import read_catalogue, read_experiment, read_model
from magml.events import Events, read_events
from magml.experiments import train
from magml.experiments.prepare import cohort_rows, open_data
from magml.explanations import Explanation, what_if
from magml.features import find_evidence
from magml.features.names import matches
from magml.simulation import generate_hospital
from tests.conftest import ROOT
from tests.evidence_parts import equal, recompute
from tests.test_train import small_workspace


def check_additive(model: Model, why: Explanation) -> None:
    """Every row sums to the score that the boosters themselves give."""
    scored = model.score_matrix(why.values)
    raw = model.bag.contributions(why.values)
    assert np.abs(raw.sum(axis=1) - scored.margin).max() <= 1e-5
    assert np.abs(why.base + why.log_odds.sum(axis=1) - scored.margin).max() <= 1e-5
    assert np.abs(why.base_risk + why.risks.sum(axis=1) - scored.risk).max() <= 1e-6
    for level in ("concept", "domain"):
        names, log_odds, risks = why.at_level(level)  # type: ignore[arg-type]
        frame = why.features
        for k, name in enumerate(names):
            of_group = frame[frame[level] == name]
            by_row = of_group["log_odds"].to_numpy().reshape(len(why), -1).sum(axis=1)
            np.testing.assert_allclose(log_odds[:, k], by_row, atol=1e-9)
            by_row = of_group["risk"].to_numpy().reshape(len(why), -1).sum(axis=1)
            np.testing.assert_allclose(risks[:, k], by_row, atol=1e-9)


def check_evidence(model: Model, why: Explanation, events: Events, rows: range, top: int) -> int:
    """The evidence of the largest reasons, alone, gives back their features' values."""
    names = np.array(model.features, dtype=object)
    order = np.argsort(-np.abs(why.log_odds), axis=1, kind="stable")[:, :top]
    requests = [
        (int(why.subject_id[row]), why.prediction_time[row], tuple(names[order[row]]))
        for row in rows
    ]
    checked = 0
    for row, found in zip(rows, find_evidence(model.plan, events, requests), strict=True):
        at = why.prediction_time[row].astype("datetime64[us]").item()
        for name, lines in found.items():
            again = recompute(model.catalogue, model.plan, lines, at, name)
            value = float(why.values[row, model.features.index(name)])
            assert equal(again, value), f"{name}: {value} explained, {again} from its evidence"
            checked += 1
    return checked


def check_without(
    model: Model, why: Explanation, records: pd.DataFrame, concept: str, derived: str
) -> None:
    """What-if equals the score of the same records without the drug, for all who take it."""
    active = f"{concept}.active"
    taking = np.flatnonzero(why.values[:, model.features.index(active)] > 0)[:20]
    assert len(taking) >= 5
    without = records[[concept not in matches(model.catalogue, code) for code in records["code"]]]
    at = pd.DataFrame(
        {"subject_id": why.subject_id[taking], "prediction_time": why.prediction_time[taking]}
    )
    expected = model.score(without, at)["risk"].to_numpy()
    answers = [what_if(model, why.matrix.values[row], {concept: "absent"}) for row in taking]
    np.testing.assert_allclose([answer.after for answer in answers], expected, atol=1e-6)
    np.testing.assert_allclose([a.before for a in answers], why.risk[taking], atol=1e-6)
    # What is derived from several drugs follows the drug.
    names = {name for answer in answers for name, _, _ in answer.features}
    assert derived in names
    assert not any(answer.not_recomputed for answer in answers)


def test_synthetic_records(tmp_path: Path) -> None:
    workspace = small_workspace(tmp_path / "workspace")
    records = generate_hospital(1200, seed=3).write(tmp_path / "records")
    run = train(
        "demo", data=records, out=tmp_path / "runs", quick=True, track=False, workspace=workspace
    )
    model = magml.load(run.bundle)
    new = generate_hospital(150, seed=77)
    events = read_events(new.events)
    why = model.explain(events, "2024-12-30", evidence=False)
    assert len(why) == 150
    check_additive(model, why)
    assert check_evidence(model, why, events, range(40), 12) == 480
    taken = new.events.to_pandas()
    interaction, count = "medication.ppi_and_loop", "medication.renal_wasting_classes"
    check_without(model, why, taken, "medication.proton_pump_inhibitor", interaction)
    check_without(model, why, taken, "medication.loop_diuretic", count)
    # Every value of the bundle's cohort has its place, and a missing one has none.
    position = why.position(0, "demographic.age.years")
    assert position is not None
    assert position.people == run.metrics["groups"]


@pytest.mark.data
@pytest.mark.slow
def test_hospitals_held_out_of_eicu(shared_data: Path, tmp_path: Path) -> None:
    model = yaml.safe_load((ROOT / "models" / "hypomagnesemia_follow.yaml").read_text())
    model["estimator"] = {"members": 4, "rounds": 40}
    model["calibration"] = {"methods": ["logistic"], "folds": 2}
    (tmp_path / "models").mkdir()
    definition = tmp_path / "models" / "hypomagnesemia_follow.yaml"
    definition.write_text(yaml.safe_dump(model))
    experiment = read_experiment("eicu_follow").model_copy(update={"baselines": ("age_sex",)})
    events = open_data(experiment, shared_data / "eicu_demo")
    rows = cohort_rows(experiment, read_model(definition), read_catalogue(), events)
    frame = events.connection.execute(
        f"SELECT subject_id, prediction_time, boolean_value FROM {rows.relation} "
        "WHERE evaluated ORDER BY row_id"
    ).df()
    site = rows.sites[rows.evaluated]
    held_out = np.isin(site, sorted(set(site))[::4])
    run = train(
        definition, events=events, labels=frame[~held_out], out=tmp_path / "runs", quick=True,
        track=False,
    )  # fmt: skip
    bundle = magml.load(run.bundle)
    why = bundle.explain(events, frame[held_out], evidence=False)
    assert len(why) > 100
    check_additive(bundle, why)
    assert check_evidence(bundle, why, events, range(25), 12) == 300
