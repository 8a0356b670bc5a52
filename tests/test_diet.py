"""Diet: requirements, absorption and usual intake, against figures worked by hand."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

import magml
from magml.diet import potential_absorption, recommended_intake, share_below, usual_intake
from magml.errors import InputError


@pytest.mark.parametrize(
    ("age", "female", "pregnant", "lactating", "ear", "rda"),
    [
        (16, 0, 0, 0, 340, 410),
        (16, 1, 0, 0, 300, 360),
        (30.9, 0, 0, 0, 330, 400),
        (31, 0, 0, 0, 350, 420),
        (31, 1, 0, 0, 265, 320),
        (17, 1, 1, 0, 335, 400),
        (25, 1, 1, 1, 290, 350),
        (40, 1, 1, 0, 300, 360),
        (25, 1, 0, 1, 255, 310),
        # A man is neither; what a record says of him there is a fault.
        (40, 0, 1, 0, 350, 420),
        (40, 1, np.nan, np.nan, 265, 320),
        (8, np.nan, 0, 0, 110, 130),
    ],
)
def test_recommended_intake_is_the_published_table(
    age: float, female: float, pregnant: float, lactating: float, ear: float, rda: float
) -> None:
    found = recommended_intake(age, female, pregnant, lactating)
    assert (float(found.ear), float(found.rda)) == (ear, rda)


def test_without_age_or_sex_nothing_is_recommended() -> None:
    found = recommended_intake([np.nan, 40, 0.5], [1, np.nan, 1])
    assert np.isnan(found.ear).all()
    assert np.isnan(found.rda).all()


def test_absorption_has_the_published_end_points() -> None:
    # Fine 1991: meals of 3 mEq (1.5 mmol) and of 80 mEq more; 65% and 11% were absorbed. The
    # curve's constants are rounded: 64% and 11%.
    meal_mg = np.array([1.5, 41.5]) * 24.305
    share = potential_absorption(meal_mg, meals=1) / meal_mg
    assert share[0] == pytest.approx(1.7 / 3.0 + 0.07)
    assert share[0] == pytest.approx(0.65, abs=0.02)
    assert share[1] == pytest.approx(0.11, abs=0.005)


def test_the_same_amount_in_more_meals_is_absorbed_better() -> None:
    assert potential_absorption(300, meals=7) > potential_absorption(300, meals=2)
    assert np.isnan(potential_absorption([-1.0, np.nan])).all()


def test_usual_intake_recovers_known_variances_from_two_days() -> None:
    random = np.random.default_rng(20)
    people = 40_000
    level = np.log(280.0) + random.normal(0, 0.35, people)
    ids = np.repeat(np.arange(people), 2)
    days = np.exp(level[ids] + random.normal(0, 0.40, 2 * people))
    found = usual_intake(days, ids)
    assert found.within == pytest.approx(0.16, rel=0.03)
    assert found.between == pytest.approx(0.1225, rel=0.03)
    # E(day | person) = exp(level + within / 2): what "usual" means.
    truth = np.exp(level + 0.08)
    assert found.usual.mean() == pytest.approx(truth.mean(), rel=0.01)
    assert np.std(np.log(found.usual)) == pytest.approx(0.35, rel=0.02)
    assert share_below(found.usual, 265) == pytest.approx(np.mean(truth < 265), abs=0.01)
    # One day a person, taken as it is, puts more people below.
    assert np.mean(days[::2] < 265) > np.mean(truth < 265) + 0.02


def test_one_recall_needs_a_stated_ratio_and_then_agrees_with_two() -> None:
    random = np.random.default_rng(21)
    people = 40_000
    level = np.log(280.0) + random.normal(0, 0.35, people)
    day = np.exp(level + random.normal(0, 0.40, people))
    with pytest.raises(InputError, match="variance_ratio"):
        usual_intake(day, np.arange(people))
    found = usual_intake(day, np.arange(people), variance_ratio=0.16 / 0.1225)
    assert found.between == pytest.approx(0.1225, rel=0.03)
    assert share_below(found.usual, 265) == pytest.approx(
        np.mean(np.exp(level + 0.08) < 265), abs=0.01
    )


def test_a_day_without_food_is_refused() -> None:
    with pytest.raises(InputError, match="1 days without an intake above 0"):
        usual_intake([0.0, 200.0], [1, 2], variance_ratio=1.0)


def test_diet_events_become_features() -> None:
    at = datetime(2026, 3, 1)
    rows = [
        (None, "MEDS_BIRTH", None, None, datetime(1986, 3, 1)),
        (None, "GENDER//F", None, None, None),
        (None, "DIET//magnesium", 250.0, "mg/d", datetime(2026, 1, 10)),
        (None, "DIET//magnesium", 350.0, "mg/d", datetime(2026, 1, 20)),
        (None, "DIET//energy", 2000.0, "kcal/d", datetime(2026, 1, 20)),
        (None, "DIET//calcium", 0.9, "g/d", datetime(2026, 1, 20)),
        (None, "DIET//alcohol", 28.0, "g/d", datetime(2026, 1, 20)),
        # Recorded at the very moment of prediction: not yet known.
        (None, "DIET//magnesium", 900.0, "mg/d", at),
        (None, "ICD10CM//Z34.0", None, None, datetime(2026, 2, 1)),
        (None, "GENE//TRPM6", None, None, datetime(2020, 1, 1)),
        (None, "TAXON//Bifidobacterium", 3.5, "%", datetime(2026, 2, 1)),
    ]
    events = pd.DataFrame(
        {
            "subject_id": 1,
            "time": pd.to_datetime([r[4] for r in rows]),
            "known_time": pd.to_datetime([r[4] for r in rows]),
            "end_time": pd.NaT,
            "code": [r[1] for r in rows],
            "numeric_value": [r[2] for r in rows],
            "unit": [r[3] for r in rows],
            "text_value": None,
            "visit_id": None,
        }
    )
    row = magml.build_features(events, at).iloc[0]
    assert row["diet.magnesium.mean.365d"] == 300
    assert row["diet.magnesium.count.365d"] == 2
    assert row["diet.magnesium_per_1000_kcal"] == 150
    assert row["diet.magnesium_share_of_ear"] == pytest.approx(1.0)  # 300 of 300, pregnant at 40
    assert row["diet.magnesium_share_of_rda"] == pytest.approx(300 / 360)
    assert row["diet.calcium_magnesium_ratio"] == pytest.approx(3.0)
    assert row["diet.drinks_per_day"] == 2
    # 300 mg in three meals: 4.114 mmol each, 1.7 * 4.114 / 5.614 + 0.07 * 4.114 = 1.534 mmol.
    assert row["diet.absorbed_magnesium"] == pytest.approx(1.534 * 3 * 24.305, rel=1e-3)
    assert row["genetic.trpm6.present"] == 1
    assert row["genetic.cldn16.present"] == 0
    assert row["microbiome.bifidobacterium.last"] == 3.5
