"""Nutrition in hospital: amounts a day, fasts and feeding again, worked by hand."""

from __future__ import annotations

import pandas as pd
import pytest

import magml
from magml.diet import feeding_events, read_food_table
from magml.errors import InputError


def chart(*rows: tuple) -> pd.DataFrame:
    names = ("start", "end", "route", "energy_kcal", "magnesium_mg")
    return pd.DataFrame([dict(zip(names, row, strict=True)) for row in rows]).assign(subject_id=1)


def of(found: pd.DataFrame, code: str) -> list[float]:
    return found[found["code"] == f"DIET//{code}"]["numeric_value"].tolist()


def test_what_runs_over_midnight_is_shared_by_time() -> None:
    found = feeding_events(
        chart(("2026-01-01 18:00", "2026-01-02 06:00", "parenteral", 1200, 240))
    ).events
    assert of(found, "fed_energy") == [600, 600]
    assert of(found, "parenteral_magnesium") == [120, 120]
    assert of(found, "enteral_magnesium") == [0, 0]


def test_an_end_at_midnight_is_of_the_day_before() -> None:
    found = feeding_events(chart(("2026-01-01 00:00", "2026-01-02 00:00", "enteral", 900, 90)))
    assert found.days == 1


def test_a_fast_and_feeding_again() -> None:
    """Six days without, feeding on the seventh and eighth and after a gap on the thirteenth."""
    found = feeding_events(
        chart(
            ("2026-01-01 08:00", None, "none", None, None),
            ("2026-01-03 08:00", None, "oral", 150, None),  # little: below 200 kcal
            ("2026-01-07 08:00", None, "enteral", 500, 50),
            ("2026-01-08 08:00", None, "enteral", 1000, 100),
            ("2026-01-13 08:00", None, "enteral", 1500, 150),
        )
    ).events
    assert of(found, "days_without_feeding") == [1, 2, 3, 4, 5, 6, 0, 0, 1, 2, 3, 4, 0]
    again = found[found["code"] == "DIET//refeeding"]["time"].dt.day.tolist()
    assert again == [7, 8]  # the 13th is the seventh day since feeding began


def test_five_days_are_not_more_than_five() -> None:
    found = feeding_events(
        chart(
            ("2026-01-01 08:00", None, "none", None, None),
            ("2026-01-06 08:00", None, "oral", 900, None),
        )
    ).events
    assert of(found, "days_without_feeding")[-2:] == [5, 0]
    assert not (found["code"] == "DIET//refeeding").any()


def test_products_and_what_is_not_known() -> None:
    products = read_food_table(
        pd.DataFrame({"food": ["Formula"], "magnesium_mg": [25], "energy_kcal": [150]})
    )
    given = pd.DataFrame(
        {
            "subject_id": 1,
            "start": ["2026-01-01 08:00", "2026-01-02 08:00"],
            "route": "enteral",
            "product": ["formula", None],
            "volume_ml": [1000, None],
            "energy_kcal": [None, 800],
        }
    )
    found = feeding_events(given, products).events
    assert of(found, "fed_energy") == [1500, 800]
    # Magnesium of the second day was not charted: no value, not none.
    assert of(found, "enteral_magnesium") == [250]
    with pytest.raises(InputError, match=r"no energy in 1 rows \(the first is row 1\)"):
        feeding_events(given)


def test_features_see_only_days_that_are_over() -> None:
    given = chart(
        ("2026-01-01 08:00", None, "none", None, None),
        ("2026-01-08 08:00", None, "enteral", 1500, 300),
    )
    events = feeding_events(given).events
    before = magml.build_features(events, "2026-01-09 00:00").iloc[0]
    after = magml.build_features(events, "2026-01-09 00:01").iloc[0]
    assert before["diet.days_without_feeding.last.14d"] == 7
    assert before["diet.refeeding.present.7d"] == 0
    assert after["diet.days_without_feeding.last.14d"] == 0
    assert after["diet.days_without_feeding.max.14d"] == 7
    assert after["diet.refeeding.present.7d"] == 1
    assert after["diet.magnesium_enteral.mean.7d"] == pytest.approx(50)  # the 3rd to the 8th


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("2026-01-02", "2026-01-01", "oral", 1, 1), "end before"),
        (("2026-01-02", None, "mouth", 1, 1), "'route' of row 1"),
        ((None, None, "oral", 1, 1), "without a start"),
    ],
)
def test_what_does_not_fit_is_refused(row: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        feeding_events(chart(row))
