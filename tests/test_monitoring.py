"""Monitoring: planted changes are found where they were planted, and nothing else is."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

import magml
from magml.bundle import Model, load, write_bundle
from magml.cli.app import app
from magml.errors import DefinitionError, InputError
from magml.monitoring import Monitoring, Thresholds, monitor, read_thresholds
from magml.monitoring.distribution import Distribution, effective, two_samples
from magml.monitoring.outcomes import Scored, outcome_figures
from magml.monitoring.periods import cut
from tests import bundle_parts as parts
from tests.monitoring_worlds import contents_with_baseline, outcomes, world

MONTHS = ["2025-01", "2025-02", "2025-03", "2025-04"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, contents_with_baseline())
    return folder


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    return load(bundle)


def watched(model: Model, drift: str = "", seed: int = 3, **more: Any) -> Monitoring:
    found = world(400, 4, seed, drift)
    labels = outcomes(model, found, seed, more.pop("shift", 0.0))
    return monitor(model, events=found.events, at=found.at, labels=labels, **more)


def told(found: Monitoring) -> set[tuple[str, str, str, str | None]]:
    return {(alarm.kind, alarm.what, alarm.period, alarm.site) for alarm in found.findings}


def test_nothing_is_found_where_nothing_changed(model: Model) -> None:
    found = watched(model)
    assert found.alarms == ()
    assert "No alarm." in found.summary()
    assert all(one.large and one.p > 0.01 / found.comparisons for one in found.unsure)
    assert [period["period"] for period in found.periods] == MONTHS
    assert all(period["judged"] for period in found.periods)
    # Outcomes are drawn from the risks: as many cases as predicted, within the interval.
    for period in found.periods:
        _, low, high = period["observed_expected"]
        assert low < 1 < high
    # The last month's youngest rows are within 24 hours plus 3 days of the end.
    assert found.periods[-1]["due"] < found.periods[-1]["n"]


def test_a_unit_that_changed_at_one_site_is_named(model: Model) -> None:
    found = watched(model, "unit")
    units = [alarm for alarm in found.alarms if alarm.kind == "unit"]
    assert {(a.what, a.site, a.period) for a in units} == {
        ("lab.potassium", "north", "2025-03"),
        ("lab.potassium", "north", "2025-04"),
    }
    assert "mg/dL" in units[0].words
    assert min(alarm.period for alarm in found.alarms) == "2025-03"


def test_a_code_that_changed_at_one_site_is_named_with_the_new_one(model: Model) -> None:
    found = watched(model, "code")
    at_site = [a for a in found.findings if a.kind == "recorded" and a.site is not None]
    assert [(a.what, a.site, a.period) for a in at_site] == [("lab.albumin", "south", "2025-03")]
    assert "LOINC//61151-7" in at_site[0].words
    assert not any(alarm.what == "lab.potassium" for alarm in found.alarms)


def test_values_that_are_missing_are_named(model: Model) -> None:
    found = watched(model, "missing")
    assert ("missing", "lab.potassium.last", "2025-03", None) in told(found)
    assert ("recorded", "lab.potassium", "2025-03", None) in told(found)
    assert not any("albumin" in alarm.what for alarm in found.alarms)


def test_sicker_people_move_scores_alerts_and_inputs_but_not_calibration(model: Model) -> None:
    found = watched(model, "sicker")
    kinds = {alarm.kind for alarm in found.alarms}
    assert {"score", "alert", "input"} <= kinds
    assert "calibration" not in kinds  # the outcomes follow the risks
    assert all(alarm.period >= "2025-03" for alarm in found.alarms)


def test_outcomes_that_became_more_frequent_are_found(model: Model) -> None:
    found = watched(model, shift=1.0)
    assert {(a.kind, a.what) for a in found.findings} == {
        ("calibration", "observed over expected")
    }  # fmt: skip
    intercept, low, high = found.periods[0]["intercept"]
    assert low < 1.0 < high
    assert intercept == pytest.approx(1.0, abs=0.4)


def test_labels_that_stop_coming_are_found_and_enter_no_calibration(model: Model) -> None:
    found = world(400, 4, 5)
    labels = outcomes(model, found, 5)
    month = labels["prediction_time"].dt.strftime("%Y-%m")
    known = (month < "2025-03") | (np.random.default_rng(0).random(len(labels)) < 0.5)
    watched_now = monitor(model, events=found.events, at=found.at, labels=labels[known])
    assert told(watched_now) == {("labels", "outcomes known", "2025-03", None)}
    assert "(and in 1 more period)" in watched_now.findings[0].words
    # With labels that need a month, the last month is not due and is not judged for them.
    late = monitor(
        model,
        events=found.events,
        at=found.at,
        labels=labels[month < "2025-04"],
        thresholds=Thresholds(label_delay_days=31),
    )
    assert late.alarms == ()
    assert late.periods[-1]["due"] == 0


def test_the_stated_rate_of_false_alarms_holds(model: Model) -> None:
    """At 1% a run, three or more of 30 runs with an alarm have a probability of 0.003."""
    runs = [watched(model, seed=seed) for seed in range(100, 130)]
    assert sum(bool(found.alarms) for found in runs) <= 2


def test_a_time_of_ones_own_is_what_is_expected(tmp_path: Path) -> None:
    write_bundle(tmp_path / "old", parts.contents())
    found = world(300, 4, 7, "sicker")
    with pytest.raises(InputError, match="reference-until"):
        monitor(tmp_path / "old", events=found.events, at=found.at)
    done = monitor(tmp_path / "old", events=found.events, at=found.at, reference_until="2025-02-01")
    assert [period["period"] for period in done.periods] == MONTHS[1:]
    assert {alarm.period for alarm in done.alarms} == {"2025-03", "2025-04"}
    assert "no outcomes were given" in " ".join(done.notes)


def test_few_people_are_not_judged_and_small_counts_not_told(model: Model) -> None:
    found = world(8, 2, 9)
    done = monitor(model, events=found.events, at=found.at)
    assert [(p["judged"], p["n"], p["people"]) for p in done.periods] == [(False, None, None)] * 2
    assert done.alarms == ()


def test_the_command_writes_json_a_page_and_metrics(
    bundle: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    found = world(400, 4, 3, "unit")
    found.events.to_parquet(tmp_path / "events.parquet")
    outcomes(model, found, 3).to_csv(tmp_path / "labels.csv", index=False)
    (tmp_path / "limits.yaml").write_text("missing: 0.5\n")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    rows = ["--events", str(tmp_path / "events.parquet"), "--labels", str(tmp_path / "labels.csv")]
    more = ["--thresholds", str(tmp_path / "limits.yaml"), "--set", "score_psi=0.9", "--track"]
    page = tmp_path / "page.html"
    done = CliRunner().invoke(
        app, ["monitor", str(bundle), *rows, *more, "--html", str(page), "--json"]
    )
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert {alarm["kind"] for alarm in answer["alarms"]} == {"unit"}  # missingness is let through
    assert answer["thresholds"]["score_psi"] == 0.9
    text = page.read_text()
    assert "<script" not in text
    assert "http" not in text
    assert "LOINC//2823-3 in mmol/L has a median" in text
    client = mlflow.MlflowClient(tracking_uri=uri)
    name = f"{parts.DEFINITION.name} monitoring"
    experiment = client.get_experiment_by_name(name)
    run = client.search_runs([experiment.experiment_id])[0]
    history = client.get_metric_history(run.info.run_id, "alarms")
    assert [(m.step, m.value) for m in history] == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert len(client.get_metric_history(run.info.run_id, "observed_expected_low")) == 4
    assert not any(str(n) in text for n in found.at["subject_id"].head(50))


def test_thresholds_are_checked(tmp_path: Path) -> None:
    assert read_thresholds().false_alarms == 0.01
    with pytest.raises(DefinitionError, match="missing"):
        read_thresholds(mising=0.1)
    with pytest.raises(DefinitionError):
        read_thresholds(alert_ratio=0.5)
    with pytest.raises(DefinitionError, match="no file"):
        read_thresholds(tmp_path / "none.yaml")
    assert magml.monitor is monitor


def test_effective_people_are_kishs() -> None:
    # One person with 8 rows and two with 1: 10 squared over 64 + 1 + 1.
    assert effective([1] * 8 + [2, 3]) == pytest.approx(100 / 66)


def test_two_samples_are_compared_as_scipy_does() -> None:
    table = np.array([[30.0, 50, 20], [40, 30, 30]])
    assert two_samples(*table) == pytest.approx(stats.chi2_contingency(table).pvalue)
    small = np.array([[1.0, 20], [6, 15]])
    assert two_samples(*small) == pytest.approx(stats.fisher_exact(small.astype(int)).pvalue)


def test_a_distribution_tells_no_small_bin_and_keeps_ties() -> None:
    values = [0.0] * 60 + [1.0] * 35 + [2.0] * 5
    found = Distribution.of(values, range(100))
    assert found.edges == (0.0,)  # five people at 2 join those at 1
    assert found.shares == (0.6, 0.4)
    change = found.change(values, range(100))
    assert change is not None
    assert change.psi == pytest.approx(0)
    assert Distribution.of([1.0] * 9 + [np.nan] * 91, range(100)).known == 0.0
    assert Distribution.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_outcome_figures_by_hand() -> None:
    """100 rows at risk 0.2 and 100 at 0.4 with 30 and 50 cases: 80 cases, 60 expected."""
    risk = np.repeat([0.2, 0.4], 100)
    label = np.concatenate([np.repeat([1.0, 0.0], [30, 70]), np.repeat([1.0, 0.0], [50, 50])])
    everyone = np.ones(200, dtype=bool)
    found = outcome_figures(Scored("p", np.arange(200), risk, ~everyone, label, everyone))
    assert found is not None
    assert found["observed_expected"][0] == pytest.approx(80 / 60)
    assert found["z"] == pytest.approx(20 / np.sqrt(100 * 0.16 + 100 * 0.24))
    # Two groups, two coefficients: the fit is exact.
    odds = {p: np.log(p / (1 - p)) for p in (0.2, 0.3, 0.4, 0.5)}
    assert found["slope"][0] == pytest.approx((odds[0.5] - odds[0.3]) / (odds[0.4] - odds[0.2]))
    # Cases over others: 30 + 50 against 70 + 50; ties count half.
    wins = 50 * 70 + 0.5 * (30 * 70 + 50 * 50)
    assert found["auroc"][0] == pytest.approx(wins / (80 * 120))


def test_periods_hold_every_moment() -> None:
    times = np.array(["2024-12-31T23:59", "2025-03-01T00:00"], dtype="datetime64[us]")
    for every, number in (("day", 61), ("week", 9), ("month", 4), ("quarter", 2), ("30d", 3)):
        found = cut(times, every)
        assert len(found) == number, every
        assert found[0].since <= pd.Timestamp(times[0])
        assert pd.Timestamp(times[1]) < found[-1].until
        assert all(a.until == b.since for a, b in pairwise(found))
    with pytest.raises(InputError, match="at most 400"):
        cut(np.array(["1900-01-01", "2025-01-01"], dtype="datetime64[us]"), "day")
    with pytest.raises(InputError, match="fortnight"):
        cut(times, "fortnight")
