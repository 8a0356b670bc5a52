"""Baselines: right columns, right form, reasons where the data lack something."""

from __future__ import annotations

import sys
from typing import get_args

import numpy as np
import pytest
from scipy.special import logit
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from magml.definitions.read import read_catalogue
from magml.errors import InputError, MissingDependencyError
from magml.models.baselines import BASELINES, FittedBaseline, NotComputable, fit_baseline
from magml.models.logistic import STRENGTHS, choose_strength, fit_logistic, fit_scaler
from magml.models.peers import PEERS, fit_peer
from magml.models.roles import Role, columns_of

NAMES = [
    "lab.magnesium.last",
    "demographic.age.years",
    "demographic.female.last",
    "lab.egfr",
    "medication.loop_diuretic.active",
    "medication.thiazide_diuretic.active",
    "medication.proton_pump_inhibitor.active",
    "comorbidity.alcohol_use_disorder.present",
    "lab.potassium.last",
    "vital.weight.last",
]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    n = 1500
    X = np.column_stack(
        [
            rng.normal(0.85, 0.1, n),
            rng.uniform(20, 90, n),
            rng.integers(0, 2, n),
            rng.uniform(20, 120, n),
            *(rng.random(n) < 0.2 for _ in range(4)),
            rng.normal(4, 0.5, n),
            80 + 15 * np.sin(np.arange(n)),
        ]
    ).astype(np.float32)
    drug = (X[:, 4] + X[:, 5] > 0) * 1.0 + X[:, 6] + X[:, 7] + (X[:, 3] < 90) + (X[:, 3] < 60)
    odds = -6 * (X[:, 0] - 0.85) / 0.1 * 0.2 + 0.9 * drug - 0.5 * (X[:, 8] - 4) - 2.5
    truth = 1 / (1 + np.exp(-odds))
    # Systematic sampling: as many cases in any stretch of rows as their risks add up to.
    y = np.diff(np.floor(np.concatenate([[0], np.cumsum(truth)]))).astype(int)
    X[rng.random(n) < 0.2, 8] = np.nan
    return X, y


@pytest.mark.parametrize("name", BASELINES)
def test_each_baseline_finds_its_signal_and_is_calibrated(rows, name):
    X, y = rows
    fitted = fit_baseline(name, X[:1000], y[:1000], NAMES, np.arange(1000), seed=1)
    assert isinstance(fitted, FittedBaseline)
    risk = fitted.risk(X[1000:])
    assert ((risk > 0) & (risk < 1)).all()
    auc = roc_auc_score(y[1000:], risk)
    # Weight, age and sex have no part in these outcomes.
    assert (auc > 0.62) == (name not in ("age_sex", "weight_age_sex"))
    assert abs(risk.mean() - y[1000:].mean()) < 0.04
    again = fit_baseline(name, X[:1000], y[:1000], NAMES, np.arange(1000), seed=1, threads=2)
    np.testing.assert_array_equal(again.risk(X[1000:]), risk)


def test_last_magnesium_is_a_logistic_regression_on_that_column_alone(rows):
    X, y = rows
    fitted = fit_baseline("last_magnesium", X, y, NAMES, np.arange(1500), seed=1)
    changed = X.copy()
    changed[:, 1:] = 0
    np.testing.assert_array_equal(fitted.risk(changed), fitted.risk(X))
    order = np.argsort(X[:, 0])
    inner = order[30:-30]  # the ends are clipped to their percentile
    assert (np.diff(fitted.risk(X)[inner]) <= 0).all()


def test_weight_age_and_sex_are_looked_at_and_nothing_else(rows):
    X, _ = rows
    heavy = (X[:, 9] > 85).astype(int)
    fitted = fit_baseline("weight_age_sex", X, heavy, NAMES, np.arange(1500), seed=1)
    assert roc_auc_score(heavy, fitted.risk(X)) > 0.99
    changed = X.copy()
    changed[:, [0, 3, 4, 5, 6, 7, 8]] = 0
    np.testing.assert_array_equal(fitted.risk(changed), fitted.risk(X))
    without = fit_baseline("weight_age_sex", X[:, :9], heavy, NAMES[:9], np.arange(1500), seed=1)
    assert isinstance(without, NotComputable)
    assert without.reason == "weight is not recorded"


def test_depletion_score_counts_what_the_paper_counts(rows):
    X, y = rows
    fitted = fit_baseline("magnesium_depletion_score", X, y, NAMES, np.arange(1500), seed=1)
    assert "stands in for heavy drinking" in fitted.note
    base = [0.85, 60, 0, 100, 0, 0, 0, 0, 4, 80]

    def risk(**changes: float) -> float:
        row = list(base)
        for name, value in changes.items():
            row[[n.split(".")[1] for n in NAMES].index(name)] = value
        return float(logit(fitted.risk([row])[0]))

    none = risk()
    one = risk(loop_diuretic=1)
    assert one > none
    # Two diuretics are one point, as many as a PPI, mild kidney disease or drinking.
    same = [
        risk(loop_diuretic=1, thiazide_diuretic=1),
        risk(proton_pump_inhibitor=1),
        risk(egfr=75),
        risk(alcohol_use_disorder=1),
    ]
    assert same == pytest.approx([one] * 4, abs=1e-6)
    assert risk(egfr=45) == pytest.approx(risk(loop_diuretic=1, egfr=75), abs=1e-6)
    assert risk(egfr=45) > one
    # Magnesium and potassium have no part in it.
    assert risk(magnesium=0.4, potassium=6) == pytest.approx(none)


def test_depletion_score_names_what_is_lacking(rows):
    X, y = rows
    known = X.copy()
    known[:, 6:8] = 0  # nobody has a PPI or drinks: the data do not record them
    fitted = fit_baseline("magnesium_depletion_score", known, y, NAMES, np.arange(1500), seed=1)
    assert fitted.note == "without PPIs, alcohol (not recorded)"
    known[:, 4:8] = 0
    lacking = fit_baseline("magnesium_depletion_score", known, y, NAMES, np.arange(1500), seed=1)
    assert isinstance(lacking, NotComputable)
    assert lacking.reason.startswith("diuretics and PPIs not recorded")
    known = X.copy()
    known[:, 3] = np.nan
    lacking = fit_baseline("magnesium_depletion_score", known, y, NAMES, np.arange(1500), seed=1)
    assert lacking.reason.startswith("eGFR not recorded")


def test_drinks_a_day_count_by_sex(rows):
    X, y = rows
    names = [*NAMES, "diet.alcohol_usual.last"]
    drinks = np.random.default_rng(1).uniform(0, 4, (1500, 1)).astype(np.float32)
    table = np.hstack([X, drinks])
    fitted = fit_baseline("magnesium_depletion_score", table, y, names, np.arange(1500), seed=1)
    assert fitted.note == ""

    def risk(female: int, drinks: float) -> float:
        return float(fitted.risk([[0.85, 60, female, 100, 0, 0, 0, 0, 4, 80, drinks]])[0])

    assert risk(0, 1.5) == risk(0, 0)
    assert risk(1, 1.5) > risk(1, 0)
    assert risk(0, 2.5) > risk(0, 0)


def test_every_role_is_found_in_the_catalogue():
    names = list(read_catalogue().features)
    X = np.zeros((2, len(names)))
    X[1] = 1
    found = {role: [names[p] for p in columns_of(role, names, X)] for role in get_args(Role)}
    assert found == {
        "last_magnesium": ["lab.magnesium.last"],
        "age": ["demographic.age.years"],
        "sex": ["demographic.female.last"],
        "weight": ["vital.weight.last"],
        "egfr": ["lab.egfr"],
        "diuretic": [
            "medication.thiazide.active",
            "medication.loop_diuretic.active",
            "medication.potassium_sparing_enac.active",
            "medication.mineralocorticoid_antagonist.active",
        ],
        "ppi": ["medication.proton_pump_inhibitor.active"],
        "drinking": ["diet.alcohol_usual.last"],
    }


def test_what_is_missing_is_said(rows):
    X, y = rows
    nobody = X.copy()
    nobody[:, 0] = np.nan
    found = fit_baseline("last_magnesium", nobody, y, NAMES, np.arange(1500), seed=1)
    assert found == NotComputable("last_magnesium", "no earlier magnesium is known for anybody")
    ageless = fit_baseline("age_sex", X[:, 2:], y, NAMES[2:], np.arange(1500), seed=1)
    assert ageless.reason == "age is not recorded"
    empty = fit_baseline("logistic", X * np.nan, y, NAMES, np.arange(1500), seed=1)
    assert empty.reason == "no column differs between rows"


@pytest.mark.parametrize("name", ["logistic", "plain_xgboost"])
def test_same_features_as_the_model_and_no_others(rows, name):
    X, y = rows
    fitted = fit_baseline(name, X, y, NAMES, np.arange(1500), seed=1, features=NAMES[3:])
    changed = X.copy()
    changed[:, :3] = 0
    np.testing.assert_array_equal(fitted.risk(changed), fitted.risk(X))


def test_rows_without_the_value_get_a_risk(rows):
    X, y = rows
    gaps = X.copy()
    gaps[::3, 0] = np.nan
    fitted = fit_baseline("last_magnesium", gaps, y, NAMES, np.arange(1500), seed=1)
    assert np.isfinite(fitted.risk(gaps)).all()


def test_unknown_names_and_shapes_are_refused(rows):
    X, y = rows
    with pytest.raises(InputError, match="did you mean 'logistic'"):
        fit_baseline("logistics", X, y, NAMES, np.arange(1500), seed=1)
    fitted = fit_baseline("last_magnesium", X, y, NAMES, np.arange(1500), seed=1)
    with pytest.raises(InputError, match="10 columns"):
        fitted.risk(X[:, :3])


def test_logistic_equals_the_library_pipeline():
    """Without outliers to clip, against scikit-learn's own imputer, scaler and regression."""
    rng = np.random.default_rng(3)
    X = rng.uniform(-1, 1, size=(400, 3))
    X[:8], X[8:16] = -1.0, 1.0  # more than 1% at both ends, so that clipping changes nothing
    X[rng.random(400) < 0.3, 1] = np.nan
    y = (rng.random(400) < 1 / (1 + np.exp(-2 * X[:, 0]))).astype(float)
    imputer = SimpleImputer(strategy="median", add_indicator=True)
    scaled = StandardScaler().fit_transform(imputer.fit_transform(X))
    expected = LogisticRegression(C=0.1, tol=1e-10).fit(scaled, y).decision_function(scaled)
    found = fit_logistic(X, y, strength=0.1)(X)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_scaler_learns_from_training_rows_and_clips_new_ones():
    X = np.arange(101, dtype=float)[:, None]
    scaler = fit_scaler(X)
    low, high, gap = scaler.transform(np.array([[-1e9], [1e9], [np.nan]]))[:, 0]
    assert [low, high, gap] == scaler.transform(np.array([[1.0], [99.0], [50.0]]))[:, 0].tolist()


def test_penalty_is_strong_for_noise_and_weak_for_signal():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(300, 40))
    noise = (rng.random(300) < 0.5).astype(float)
    signal = (X[:, 0] > 0).astype(float)
    assert choose_strength(X, noise, np.arange(300), 0) < STRENGTHS[len(STRENGTHS) // 2]
    assert choose_strength(X[:, :2], signal, np.arange(300), 0) == STRENGTHS[-1]


@pytest.mark.parametrize("name", PEERS)
def test_peers_learn_and_say_what_they_chose(rows, name):
    if name != "xgboost":
        pytest.importorskip(name)
    X, y = rows
    X, y = X[:600], y[:600]
    peer = fit_peer(name, X[:400], y[:400], NAMES, np.arange(400), seed=1, trials=2)
    risk = peer.risk(X[400:])
    assert roc_auc_score(y[400:], risk) > 0.65
    assert abs(risk.mean() - y[400:].mean()) < 0.1
    assert "rounds" in peer.note
    again = fit_peer(name, X[:400], y[:400], NAMES, np.arange(400), seed=1, trials=2, threads=2)
    np.testing.assert_array_equal(again.risk(X[400:]), risk)


def test_a_peer_that_is_not_installed_says_what_to_install(rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingDependencyError, match=r"magml\[peers\]"):
        fit_peer("lightgbm", *rows, NAMES, np.arange(1500), seed=1)
    with pytest.raises(InputError, match="did you mean 'catboost'"):
        fit_peer("catbost", *rows, NAMES, np.arange(1500), seed=1)
