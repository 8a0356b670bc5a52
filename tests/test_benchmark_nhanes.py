"""The comparison of NHANES with published figures: intake by hand, and who is in it."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pandas as pd
import pytest

PLACE = Path(__file__).parents[1] / "benchmarks" / "nhanes_mds.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("nhanes_mds", PLACE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_usual_intake_by_hand(benchmark) -> None:
    people = pd.DataFrame({"magnesium": [100.0, 400.0, 50.0, None], "weight": [1.0, 1, 0, 1]})
    everyone = pd.Series([True] * 4)
    # Geometric mean 200; logs lie ln 2 from it, variance 0.4805. A ratio of 3 leaves a quarter of
    # that between people (half the distance) and 0.3603 within, of which half is added.
    usual = benchmark.usual(people, everyone, 3.0)
    lift = math.exp(0.75 * math.log(2) ** 2 / 2)
    expected = [200 / math.sqrt(2) * lift, 200 * math.sqrt(2) * lift, math.nan, math.nan]
    assert usual == pytest.approx(expected, nan_ok=True)
    assert benchmark.usual(people, everyone, 0.0)[:2] == pytest.approx([100, 400])


@pytest.mark.data
def test_adults_with_diet_and_creatinine(benchmark, shared_data: Path) -> None:
    people = benchmark.read_people(shared_data / "nhanes", None)
    # The number that the data's own description states.
    assert (people["adult"] & people["creatinine"].notna()).sum() == 37_637
