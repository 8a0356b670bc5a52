"""Kidney equations and the Magnesium Depletion Score against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import magml
from magml.kidney import ckd_epi_2009, ckd_epi_2021
from magml.models.mds import magnesium_depletion_score

nan = float("nan")


@pytest.mark.parametrize(
    ("creatinine", "age", "female", "expected"),
    [
        # 142 x (1.0/0.7)^-1.2 x 0.9938^50 x 1.012 = 142 x 0.65180 x 0.73275 x 1.012
        (1.0, 50, 1, 68.63),
        # 142 x (1.2/0.9)^-1.2 x 0.9938^60 = 142 x 0.70807 x 0.68856
        (1.2, 60, 0, 69.23),
        # 142 x (0.6/0.7)^-0.241 x 0.9938^30 x 1.012 = 142 x 1.03785 x 0.82981 x 1.012
        (0.6, 30, 1, 123.76),
        # 142 x (0.8/0.9)^-0.302 x 0.9938^80 = 142 x 1.03621 x 0.60805
        (0.8, 80, 0, 89.47),
    ],
)
def test_ckd_epi_2021(creatinine, age, female, expected):
    assert ckd_epi_2021(creatinine, age, female) == pytest.approx(expected, abs=0.02)


def test_ckd_epi_2009_without_race():
    # 141 x (1.0/0.7)^-1.209 x 0.993^50 x 1.018 = 141 x 0.64971 x 0.70383 x 1.018
    assert ckd_epi_2009(1.0, 50, 1) == pytest.approx(65.64, abs=0.02)
    # 141 x (0.8/0.9)^-0.411 x 0.993^40 = 141 x 1.04960 x 0.75506
    assert ckd_epi_2009(0.8, 40, 0) == pytest.approx(111.75, abs=0.02)


def test_kidney_function_is_missing_where_an_input_is():
    rates = ckd_epi_2021(
        [1.0, nan, 1.0, 1.0, 0.0, -1.0], [50, 50, nan, 50, 50, 50], [1, 1, 1, nan, 1, 1]
    )
    assert np.isnan(rates).tolist() == [False, True, True, True, True, True]


@pytest.mark.parametrize(
    ("diuretic", "ppi", "egfr", "drinks", "female", "expected"),
    [
        (0, 0, 100, 0, 1, 0),
        (1, 0, 100, 0, 1, 1),
        (0, 1, 100, 0, 0, 1),
        (0, 0, 90, 0, 0, 0),
        (0, 0, 89.9, 0, 0, 1),
        (0, 0, 60, 0, 0, 1),
        (0, 0, 59.9, 0, 0, 2),
        (0, 0, 100, 1, 1, 0),
        (0, 0, 100, 1.1, 1, 1),
        (0, 0, 100, 2, 0, 0),
        (0, 0, 100, 2.1, 0, 1),
        (1, 1, 30, 3, 1, 5),
        (0, 0, 100, 2.5, nan, 1),
        (0, 0, 100, 1.5, nan, nan),
        (nan, 1, 100, 0, 1, nan),
        (1, nan, 100, 0, 1, nan),
        (1, 1, nan, 0, 1, nan),
        (1, 1, 100, nan, 1, nan),
    ],
)
def test_score_by_hand(diuretic, ppi, egfr, drinks, female, expected):
    score = magnesium_depletion_score(
        diuretic=diuretic, ppi=ppi, egfr=egfr, drinks_per_day=drinks, female=female
    )
    assert isinstance(score, float)
    assert score == pytest.approx(expected, nan_ok=True)


def test_score_of_a_table_keeps_its_index_and_broadcasts():
    table = pd.DataFrame({"ppi": [1, 0], "egfr": [70.0, 100.0]}, index=["x", "y"])
    score = magml.magnesium_depletion_score(
        diuretic=1, ppi=table.ppi, egfr=table.egfr, drinks_per_day=0, female=1
    )
    assert isinstance(score, pd.Series)
    assert score.to_dict() == {"x": 3.0, "y": 1.0}
