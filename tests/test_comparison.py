"""The ladder: nothing invented about what is not computable, and gains that are worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import magml
from magml.cli.app import app
from magml.comparison.ladder import STEPS, TITLES, serum_features
from magml.comparison.paired import likelihood_tests, paired_tables
from magml.definitions import read_catalogue
from magml.evaluation import auroc, brier_score, evaluate, log_loss, net_benefit
from magml.simulation import generate_hospital
from tests.conftest import ROOT


def rows(n: int = 400, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    events = rng.random(n) < 1 / (1 + np.exp(1.5 - x[:, 0] - x[:, 1]))
    risks = {
        "old": 1 / (1 + np.exp(1.5 - x[:, 0])),
        "new": 1 / (1 + np.exp(1.5 - x[:, 0] - x[:, 1])),
    }
    return events, risks, x


def test_differences_are_those_of_the_measures_alone() -> None:
    events, risks, _ = rows()
    cuts = np.array([0.2, 0.4])
    found, _ = paired_tables(
        events, risks, np.arange(400), [("new", "old")],
        thresholds=cuts, threshold=0.2, replicates=100, seed=1,
    )  # fmt: skip
    values = found.set_index(["metric", found["threshold"].fillna(0)])["difference"]
    for metric, function in (("auroc", auroc), ("log_loss", log_loss), ("brier", brier_score)):
        gain = function(events, risks["new"]) - function(events, risks["old"])
        assert values[metric, 0] == pytest.approx(gain, abs=1e-12)
    gains = net_benefit(events, risks["new"], cuts) - net_benefit(events, risks["old"], cuts)
    assert [values["net_benefit", cut] for cut in cuts] == pytest.approx(gains.tolist())
    assert (found["low"] <= found["difference"]).all()
    assert (found["difference"] <= found["high"]).all()


def test_paired_intervals_agree_with_the_evaluation() -> None:
    events, risks, _ = rows()
    found, _ = paired_tables(
        events, risks, np.arange(400), [("new", "old")],
        thresholds=np.array([0.2]), threshold=0.2, replicates=200, seed=3,
    )  # fmt: skip
    peer = evaluate(
        events, risks, groups=np.arange(400), reference="new", replicates=200, seed=3
    ).differences
    for metric in ("auroc", "log_loss", "brier"):
        mine = found[found["metric"] == metric].iloc[0]
        other = peer[peer["metric"] == metric].iloc[0]
        assert [mine["low"], mine["high"]] == pytest.approx([other["low"], other["high"]])


def test_the_reclassified_are_counted_for_cases_and_non_cases_apart() -> None:
    # Cases: 20 move up, 10 down of 50. Non-cases: 5 up (too few to show), 30 down of 100.
    events = np.repeat([True, False], [50, 100])
    old = np.repeat([0.1, 0.3, 0.3, 0.1, 0.3, 0.1], [20, 10, 20, 5, 30, 65])
    new = np.repeat([0.3, 0.1, 0.3, 0.3, 0.1, 0.1], [20, 10, 20, 5, 30, 65])
    _, found = paired_tables(
        events, {"old": old, "new": new}, np.arange(150), [("new", "old")],
        thresholds=np.array([0.2]), threshold=0.2, replicates=50, seed=0,
    )  # fmt: skip
    cases, others = found.iloc[0], found.iloc[1]
    assert (cases["among"], cases["n"], cases["up"], cases["down"]) == ("cases", 50, 20, 10)
    assert cases["net_up"] == pytest.approx(0.2)
    assert (others["among"], others["n"], others["down"]) == ("non-cases", 100, 30)
    assert np.isnan(others["up"])
    assert others["net_up"] == pytest.approx(-0.25)


def test_likelihood_ratio_of_a_two_by_two_table() -> None:
    """By hand: 30 of 100 and 10 of 100 with the outcome, against 40 of 200 together."""
    group = np.repeat([1.0, 0.0], 100)
    events = np.concatenate([np.arange(100) < 30, np.arange(100) < 10])

    def loglik(k: int, n: int) -> float:
        return k * np.log(k / n) + (n - k) * np.log(1 - k / n)

    expected = 2 * (loglik(30, 100) + loglik(10, 100) - loglik(40, 200))
    terms = {"nothing": np.zeros((200, 1)), "group": group[:, None]}
    found = likelihood_tests(events, terms, np.arange(200), [("nothing", "group")]).iloc[0]
    assert found["df"] == 1
    assert found["statistic"] == pytest.approx(expected, abs=1e-6)
    assert found["p"] == pytest.approx(0.00033, abs=0.00002)  # chi-squared 12.9 on 1 df


def test_one_row_of_a_person_counts_and_shared_terms_add_nothing() -> None:
    events, _, x = rows(200)
    twice = np.repeat(np.arange(200), 2)
    terms = {"a": x[twice][:, :1], "a and b": x[twice]}
    found = likelihood_tests(events[twice], terms, twice, [("a", "a and b"), ("a and b", "a")])
    once = likelihood_tests(
        events, {"a": x[:, :1], "a and b": x}, np.arange(200), [("a", "a and b")]
    )
    assert found["n"].tolist() == [200, 200]
    assert found["df"].tolist() == [1, 0]
    assert found["statistic"].iloc[0] == pytest.approx(once["statistic"].iloc[0])
    assert np.isnan(found["p"].iloc[1])


def test_separated_classes_have_no_test() -> None:
    x = np.arange(40.0)
    found = likelihood_tests(
        x > 19, {"n": np.zeros((40, 1)), "x": x[:, None]}, np.arange(40), [("n", "x")]
    )
    assert np.isnan(found["p"].iloc[0])


def test_serum_is_found_in_what_is_derived_from_it() -> None:
    catalogue = read_catalogue()
    derived = [
        name
        for name, item in catalogue.derived.items()
        if any(needed.startswith("lab.magnesium.") for needed in item.input_names)
    ]
    names = [
        "lab.magnesium.min.ever",
        "lab.potassium.last",
        *derived,
        "lab.magnesium_red_cell.last",
    ]
    names = [name for name in names if name in catalogue.features]
    found = serum_features(catalogue, names)
    assert set(derived) <= set(found)
    assert "lab.potassium.last" not in found
    assert "lab.magnesium_red_cell.last" not in found


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_hospital(1500, seed=11).write(tmp_path_factory.mktemp("records") / "hospital")


@pytest.fixture(scope="module")
def labelled(records: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Label everybody 12 h after a serum magnesium: by its value, a drug and alcohol."""
    folder = tmp_path_factory.mktemp("follow")
    model = yaml.safe_load((ROOT / "models" / "hypomagnesemia_follow.yaml").read_text())
    model["estimator"] = {"members": 2, "rounds": 60}
    model["calibration"] = {"methods": ["logistic"], "folds": 2}
    (folder / "models").mkdir()
    path = folder / "models" / "hypomagnesemia_follow.yaml"
    path.write_text(yaml.safe_dump(model))
    events = pd.read_parquet(records / "events.parquet")
    serum = events[events["code"] == "LOINC//19123-9"].drop_duplicates("subject_id")
    mmol = np.where(serum["unit"] == "mmol/L", 1.0, 1 / 2.4305) * serum["numeric_value"]
    ids = serum["subject_id"]
    ppi, alcohol = (
        ids.isin(events.loc[events["code"] == code, "subject_id"]).to_numpy(float)
        for code in ("ATC//A02BC01", "ICD10CM//F10.20")
    )
    odds = -1.8 - 10 * (mmol - 0.78) + 1.6 * ppi + 2.0 * alcohol
    chance = np.random.default_rng(2).random(len(odds))
    labels = pd.DataFrame(
        {
            "subject_id": ids.to_numpy(),
            "prediction_time": (serum["time"] + pd.Timedelta("12h")).to_numpy(),
            "boolean_value": chance < 1 / (1 + np.exp(-odds.to_numpy())),
        }
    )
    found = magml.compare(
        path, events=events, labels=labels, out=folder / "out", quick=True, threads=1,
        track=False, workspace=folder, normal_serum=0.75,
    )  # fmt: skip
    return {"found": found, "mmol": mmol.to_numpy(), "labels": labels}


def test_every_rung_stands_where_the_data_hold_it(labelled) -> None:
    found = labelled["found"]
    # The quick generator weighs nobody.
    lacking = {rung.title: rung.reason for rung in found.rungs if not rung.computable}
    assert lacking == {"weight + age + sex": "weight is not recorded"}
    # The drug and alcohol are what serum cannot tell; the bag sees both.
    assert found.difference("full with serum", "serum magnesium", "auroc")[1] > 0
    assert found.difference("full with serum", "full without serum", "auroc")[0] > 0
    tests = found.likelihood.set_index(["base", "added"])["p"]
    assert tests["serum magnesium", "full without serum"] < 0.001
    assert tests["age + sex", "serum magnesium"] < 0.001


def test_cases_with_normal_serum_are_counted(labelled) -> None:
    found, normal = labelled["found"], labelled["mmol"] >= 0.75 - 1e-6
    table = found.normal_serum
    assert table["n"].iloc[0] == normal.sum()
    assert table["events"].iloc[0] == labelled["labels"]["boolean_value"].to_numpy()[normal].sum()
    row = table[(table["model"] == "full with serum") & (table["at"] == 0.2)].iloc[0]
    assert row["tested_people"] == round(0.2 * normal.sum())
    assert row["found_cases"] == round(row["found"] * row["events"])
    assert row["found"] > 0.2  # more than chance


@pytest.fixture(scope="module")
def screened(records: Path, tmp_path_factory: pytest.TempPathFactory):
    from tests.test_train import small_workspace

    folder = tmp_path_factory.mktemp("screen")
    return magml.compare(
        "demo", data=records, out=folder / "out", quick=True, threads=1, threshold=0.2,
        workspace=small_workspace(folder), tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
    )  # fmt: skip


def test_rungs_that_cannot_be_computed_are_named_with_the_reason(screened) -> None:
    by_title = {rung.title: rung for rung in screened.rungs}
    assert list(by_title) == list(TITLES.values())
    assert by_title["full with serum"].reason == (
        "a screening model never sees its outcome's analyte"
    )
    assert by_title["serum magnesium"].reason == "no earlier magnesium is known for anybody"
    assert by_title["serum + MDS + age + sex"].reason
    assert by_title["full without serum"].computable
    assert set(screened.metrics["model"]) == {r.title for r in screened.rungs if r.computable}
    assert screened.normal_reason
    assert "not computable" in screened.summary()


def test_the_comparison_stands_on_disk_and_in_mlflow(screened) -> None:
    folder = screened.folder
    plain = json.loads((folder / "comparison.json").read_text())
    assert plain["n"] == screened.n
    assert (folder / "ladder.png").stat().st_size > 10_000
    table = pd.read_csv(folder / "differences.csv")
    assert set(zip(table["rung"], table["over"], strict=True)) <= set(STEPS)
    assert {"auroc", "log_loss", "brier", "net_benefit"} == set(table["metric"])
    import mlflow

    run = mlflow.MlflowClient(screened.tracking_uri).get_run(screened.run_id)
    assert run.data.metrics["n"] == screened.n
    own = screened.value("full without serum", "auroc")[0]
    assert run.data.metrics["full_without_serum.auroc"] == own
    assert "not_computable.full_with_serum" in run.data.tags


def test_no_headline_net_reclassification_index(screened) -> None:
    text = json.dumps(screened.to_dict()).lower()
    assert "nri" not in text.replace("enrich", "")
    assert set(screened.reclassified["among"]) == {"cases", "non-cases"}


def test_another_folder_is_not_replaced(screened, tmp_path: Path) -> None:
    from magml.comparison.write import write_comparison
    from magml.errors import InputError

    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="no comparison"):
        write_comparison(screened, tmp_path / "demo")


def test_the_command_asks_for_both_events_and_labels(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["compare", "demo", "--events", "x.parquet"])
    assert answer.exit_code != 0
    assert "labels" in str(answer.exception)
