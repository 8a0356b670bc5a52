"""The model card: verdicts on baselines, limits, and the same facts in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from magml.bundle.card import model_card
from magml.bundle.card_words import card_markdown
from magml.evaluation import evaluate
from tests import bundle_parts as parts

EXPERIMENT = {
    "name": "eicu_screen",
    "source": {"layout": "eicu"},
    "cohort": {
        "anchor": ["VISIT//icu"],
        "offset": "6h",
        "select": "first",
        "measured_before": "none",
        "minimum_age": 18.0,
    },
    "validation": {"groups": "subject", "folds": 5},
    "baselines": ["age_sex", "logistic", "plain_xgboost", "last_magnesium"],
    "add_on": True,
}


def difference(
    model: str, metric: str, value: float | None, low: float | None, high: float | None
) -> dict:
    return {"model": model, "metric": metric, "difference": value, "low": low, "high": high}


PERFORMANCE: dict[str, Any] = {
    "reference": "model",
    "n": 600,
    "events": 177,
    "groups": 600,
    "prevalence": 0.295,
    "weighted": False,
    "replicates": 1000,
    "level": 0.95,
    "seed": 1,
    "metrics": [
        {"model": "model", "metric": "auroc", "value": 0.75, "low": 0.7, "high": 0.8},
        {"model": "model", "metric": "calibration_slope", "value": 1.02, "low": 0.9, "high": 1.2},
        {"model": "model", "metric": "ici", "value": 0.012, "low": None, "high": None},
        {"model": "age_sex", "metric": "auroc", "value": 0.55, "low": 0.5, "high": 0.6},
    ],
    "differences": [
        difference("age_sex", "auroc", 0.2, 0.15, 0.25),
        # Log loss: the model minus the baseline, so that less than 0 is better.
        difference("age_sex", "log_loss", -0.05, -0.08, -0.02),
        difference("logistic", "auroc", 0.01, -0.01, 0.03),
        difference("logistic", "log_loss", 0.004, -0.002, 0.01),
        difference("plain_xgboost", "auroc", None, None, None),
        difference("plain_xgboost", "brier", 0.1, 0.0, 0.2),
        difference("labs_only", "auroc", 0.02, 0.01, 0.03),
    ],
}


@pytest.fixture
def card() -> dict[str, Any]:
    training = replace(
        parts.contents().training,
        experiment=EXPERIMENT,
        performance=PERFORMANCE,
        notes=("a result is known at the end of its hour",),
    )
    return model_card(
        parts.DEFINITION,
        parts.CATALOGUE,
        parts.FEATURES,
        training,
        {"last_magnesium": "no earlier magnesium is known for anybody"},
        baseline_notes={"logistic": "7 features, C = 0.1", "age_sex": ""},
        limits=("Intensive care only.",),
    )


def test_verdicts_follow_from_the_paired_differences(card: dict[str, Any]) -> None:
    found = {(row["model"], row["metric"]): row for row in card["comparisons"]}
    assert {metric for _, metric in found} == {"auroc", "log_loss"}
    assert found["age_sex", "auroc"]["verdict"] == "beats"
    assert found["age_sex", "log_loss"]["verdict"] == "beats"
    better = found["age_sex", "log_loss"]
    assert (better["gain"], better["low"], better["high"]) == (0.05, 0.02, 0.08)
    assert found["logistic", "auroc"]["verdict"] == "ahead by point estimate only"
    assert found["logistic", "log_loss"]["verdict"] == "does not beat"
    assert found["plain_xgboost", "auroc"]["verdict"] == "cannot be compared"
    assert found["labs_only", "auroc"]["baseline"] is False


def test_consequences_of_low_magnesium_are_named(card: dict[str, Any]) -> None:
    # Of the features of the parts, potassium alone is marked so.
    named = [limit for limit in card["limits"] if limit.startswith("May follow from low")]
    assert named == ["May follow from low magnesium and are used all the same: Potassium."]


def test_the_words_say_it_plainly(card: dict[str, Any]) -> None:
    text = card_markdown(card)
    assert "beats `age_sex` in AUROC: gain +0.200 (+0.150 to +0.250)" in text
    assert "**does not beat** `logistic` in log loss: gain -0.004 (-0.010 to +0.002)" in text
    assert "ahead of `logistic` in AUROC by point estimate only" in text
    assert "(7 features, C = 0.1)" in text
    assert "`labs_only` (a variant)" in text
    assert "`last_magnesium` is not computable: no earlier magnesium is known for anybody." in text
    assert "| Calibration slope | 1.020 (0.900 to 1.200) |" in text
    assert "| Integrated calibration index | 0.012 (no interval) |" in text
    assert "Magnesium below 0.7 mmol/L or 1.7 mg/dL or 1.4 mEq/L (the first value" in text
    assert "600 prediction times of 600 people; 177 (29.5%) with the outcome." in text
    assert "prediction 6h after `VISIT//icu` (the first of a person)" in text
    assert "a result is known at the end of its hour" in text
    assert "**Add-on use:**" in text
    assert "**medication** (1): `medication.loop_diuretic.active`" in text
    assert "**Not for:** Care." in text


def test_limits_follow_from_the_facts(card: dict[str, Any]) -> None:
    limits = " ".join(card["limits"])
    assert "one source (eicu)" in limits
    assert "Only 177 cases" in limits
    assert "Intensive care only." in limits
    assert "too few" not in limits
    few = replace(
        parts.contents().training, experiment=EXPERIMENT, performance={**PERFORMANCE, "groups": 9}
    )
    narrow = model_card(parts.DEFINITION, parts.CATALOGUE, parts.FEATURES, few)
    assert any("Only 9 groups were resampled" in limit for limit in narrow["limits"])


def test_without_validation_the_card_says_so() -> None:
    card = parts.contents().card
    assert card["performance"] is None
    text = card_markdown(card)
    assert "Not measured: no cross-validation was run." in text
    assert "nothing is known of its performance" in text
    assert "labels were given with the data" in text


def test_a_real_evaluation_fits_the_card() -> None:
    bag, calibrator, _ = parts.fitted()
    X, y = parts.matrix(400, seed=21)
    performance = evaluate(
        y,
        {"model": calibrator.risk(bag.margin(X)), "age_sex": [0.3] * 400},
        groups=range(400),
        replicates=100,
    )
    training = replace(
        parts.contents().training, experiment=EXPERIMENT, performance=performance.to_dict()
    )
    card = model_card(parts.DEFINITION, parts.CATALOGUE, parts.FEATURES, training)
    auroc = performance.value("auroc")[0]
    assert f"| AUROC | {auroc:.3f} (" in card_markdown(card)
    assert "The model beats `age_sex` in AUROC" in card_markdown(card)
