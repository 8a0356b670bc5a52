"""The whole evaluation: its tables, paired differences, determinism and refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import date

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from magml.errors import InputError
from magml.evaluation import METRICS, evaluate

DIRECTED = [name for name, metric in METRICS.items() if metric.better != "target"]


def sample(n: int = 400, seed: int = 0):
    generator = np.random.default_rng(seed)
    score = generator.normal(-1.2, 1.0, n)
    events = generator.random(n) < expit(score)
    noisy = expit(-1.2 + 0.5 * (score + 1.2) + generator.normal(0, 0.3, n))
    return events, {"study": expit(score), "noisy": noisy, "constant": np.full(n, 0.25)}


@pytest.fixture(scope="module")
def performance():
    events, risks = sample()
    return evaluate(events, risks, groups=np.arange(400) // 2, replicates=300)


def test_every_metric_of_every_model_has_n_events_and_interval(performance):
    events, risks = sample()
    table = performance.metrics
    assert list(table.columns) == [
        "model", "metric", "value", "low", "high", "n", "events", "replicates",
    ]  # fmt: skip
    assert len(table) == len(risks) * len(METRICS)
    assert (table["n"] == 400).all()
    assert (table["events"] == events.sum()).all()
    slope = (table["model"] == "constant") & (table["metric"] == "calibration_slope")
    assert table.loc[slope, ["value", "low", "high"]].isna().all(axis=None)
    assert table.loc[slope, "replicates"].item() == 0
    rest = table[~slope]
    assert (rest["low"] <= rest["high"]).all()
    assert (performance.n, performance.groups, performance.reference) == (400, 200, "study")
    for name in risks:
        assert performance.value("auroc", name)[0] == pytest.approx(
            roc_auc_score(events, risks[name])
        )


def test_single_measures_and_the_evaluation_agree(performance):
    from magml import evaluation

    events, risks = sample()
    names = {
        "auprc": evaluation.auprc,
        "brier": evaluation.brier_score,
        "scaled_brier": evaluation.scaled_brier_score,
        "log_loss": evaluation.log_loss,
        "ici": evaluation.integrated_calibration_index,
        "calibration_intercept": evaluation.calibration_intercept,
        "calibration_slope": evaluation.calibration_slope,
    }
    for metric, function in names.items():
        assert performance.value(metric, "noisy")[0] == pytest.approx(
            function(events, risks["noisy"])
        )
    assert performance.value("observed_expected", "constant")[0] == pytest.approx(
        events.mean() / 0.25
    )


def test_differences_are_reference_minus_other_and_paired(performance):
    table = performance.differences
    assert set(table["model"]) == {"noisy", "constant"}
    assert set(table["metric"]) == set(DIRECTED)
    row = table[(table["model"] == "noisy") & (table["metric"] == "auroc")].iloc[0]
    first, second = performance.value("auroc"), performance.value("auroc", "noisy")
    assert row["difference"] == pytest.approx(first[0] - second[0])
    # Paired: correlated models differ with less uncertainty than two independent ones would.
    unpaired = np.hypot(first[2] - first[1], second[2] - second[1])
    assert row["high"] - row["low"] < 0.8 * unpaired


def test_a_model_against_itself_differs_by_nothing():
    events, risks = sample()
    done = evaluate(
        events, {"a": risks["noisy"], "b": risks["noisy"]}, groups=np.arange(400), replicates=50
    )
    assert (done.differences[["difference", "low", "high"]] == 0).all(axis=None)
    rows = done.net_benefit[done.net_benefit["model"].isin(["a", "b"])]
    assert (rows[["difference", "difference_low", "difference_high"]] == 0).all(axis=None)


def test_net_benefit_table(performance):
    events, _ = sample()
    table = performance.net_benefit.set_index("model")
    assert set(table.index) == {"study", "noisy", "constant", "treat all", "treat none"}
    share, threshold = events.mean(), table.loc["treat all", "threshold"]
    np.testing.assert_allclose(
        table.loc["treat all", "net_benefit"],
        share - (1 - share) * threshold / (1 - threshold),
    )
    assert (table.loc["treat none", ["net_benefit", "low", "high"]] == 0).all(axis=None)
    # Against treating nobody the difference is the net benefit itself, its interval too.
    np.testing.assert_allclose(
        table.loc["treat none", ["difference", "difference_low", "difference_high"]],
        table.loc["study", ["net_benefit", "low", "high"]],
    )
    # Up to a threshold of 25% the constant risk of 25% treats everybody.
    low = threshold.to_numpy() <= 0.25
    np.testing.assert_allclose(
        table.loc["constant", "net_benefit"][low], table.loc["treat all", "net_benefit"][low]
    )


def test_calibration_table(performance):
    table = performance.calibration
    curve = table[(table["model"] == "study") & (table["kind"] == "curve")]
    assert len(curve) == 50
    assert (curve["low"] <= curve["observed"]).all()
    assert (curve["observed"] <= curve["high"]).all()
    groups = table[(table["model"] == "study") & (table["kind"] == "group")]
    assert groups["n"].sum() == 400
    assert groups["n"].min() >= 10
    point = table[(table["model"] == "constant") & (table["kind"] == "curve")]
    assert len(point) == 1
    assert point["observed"].item() == pytest.approx(sample()[0].mean())


def test_reference_is_named_and_comes_first():
    events, risks = sample()
    done = evaluate(events, risks, groups=np.arange(400), reference="noisy", replicates=20)
    assert done.models == ("noisy", "study", "constant")
    assert set(done.differences["model"]) == {"study", "constant"}


def test_weights_are_those_of_inverse_probability():
    # Half of the rows above 0.3 were measured; weighting them by 2 restores the whole.
    events, risks = sample(n=4000)
    study = risks["study"]
    high = np.flatnonzero(study > 0.3)
    kept = np.concatenate([np.flatnonzero(study <= 0.3), high[::2]])
    weights = np.where(study[kept] > 0.3, 2.0, 1.0)
    whole = evaluate(events, {"m": study}, groups=np.arange(4000), replicates=20)
    part = evaluate(events[kept], {"m": study[kept]}, groups=kept, weights=weights, replicates=20)
    assert part.weighted
    assert part.n == kept.size
    assert part.prevalence == pytest.approx(whole.prevalence, abs=0.02)
    assert part.value("auroc")[0] == pytest.approx(whole.value("auroc")[0], abs=0.02)


def test_json_has_no_nan_and_is_complete(performance):
    plain = json.loads(json.dumps(performance.to_dict(), allow_nan=False))
    assert plain["models"] == ["study", "noisy", "constant"]
    assert len(plain["metrics"]) == len(performance.metrics)
    assert {"n", "events", "groups", "replicates", "redrawn", "seed"} <= set(plain)
    slope = next(
        row
        for row in plain["metrics"]
        if row["model"] == "constant" and row["metric"] == "calibration_slope"
    )
    assert slope["value"] is None


def test_order_of_rows_and_kind_of_groups_do_not_matter():
    events, risks = sample()
    groups = np.arange(400) // 4
    done = evaluate(events, risks, groups=groups, replicates=50)
    turned = np.random.default_rng(9).permutation(400)
    named = pd.Series([f"patient {code:03d}" for code in groups[turned]])
    again = evaluate(
        events[turned], {k: v[turned] for k, v in risks.items()}, groups=named, replicates=50
    )
    columns = ["value", "low", "high"]
    np.testing.assert_allclose(again.metrics[columns], done.metrics[columns], atol=1e-6)


def test_threads_do_not_change_a_bit():
    script = (
        "import hashlib, json, numpy as np\n"
        "from magml.evaluation import evaluate\n"
        "g = np.random.default_rng(0)\n"
        "r = g.uniform(0.02, 0.9, 20000); y = g.random(20000) < r\n"
        "d = evaluate(y, {'a': r, 'b': r**2}, groups=np.arange(20000) // 2, replicates=8)\n"
        "print(hashlib.sha256(json.dumps(d.to_dict()).encode()).hexdigest())\n"
    )
    seen = set()
    for threads in ("1", "2"):
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        ran = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **limits, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        seen.add(ran.stdout)
    assert len(seen) == 1


def test_thousand_replicates_of_a_real_size_take_seconds():
    events, risks = sample(n=7000)
    started = time.process_time()
    evaluate(events, {"m": risks["noisy"]}, groups=np.arange(7000))
    # About 2 s on one core; ten models are then well within a minute.
    assert time.process_time() - started < 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"risks": {"study": [0.1, 0.2, np.nan, 0.4]}}, "1 of 4 risks of 'study' are missing"),
        ({"risks": {}}, "no predicted risks"),
        ({"risks": {"treat all": [0.1] * 4}}, "a model named 'treat all'"),
        ({"labels": [0, 0, 0, 0]}, "4 rows, 0 of them with the outcome"),
        ({"reference": "studdy"}, "did you mean 'study'"),
        ({"groups": [1, 1, 1, 1]}, "1 group"),
        ({"groups": [1, None, 2, 2]}, "1 of 4 rows without a group"),
        ({"groups": [1, 2]}, "2 groups"),
        ({"groups": [date(2020, 1, 1), 1, 2, 3]}, "groups of several types"),
        ({"replicates": 1}, "1 replicates"),
        ({"level": 95}, "the level 95"),
        ({"thresholds": []}, "no thresholds"),
    ],
)
def test_wrong_input_is_refused(changes, message):
    arguments = {
        "labels": [0, 1, 0, 1],
        "risks": {"study": [0.1, 0.2, 0.3, 0.4]},
        "groups": [1, 2, 3, 4],
    } | changes
    labels, risks = arguments.pop("labels"), arguments.pop("risks")
    with pytest.raises(InputError, match=message):
        evaluate(labels, risks, **arguments)


def test_an_unknown_metric_is_refused(performance):
    with pytest.raises(InputError, match="one of auroc"):
        performance.value("accuracy")
