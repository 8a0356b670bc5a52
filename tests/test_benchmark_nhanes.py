"""The comparison of NHANES with published figures: intake by hand, and who is in it."""

from __future__ import annotations

import importlib.util
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
    # Geometric mean 200; a ratio of 3 halves the logs' distance: 200/sqrt(2) and 200 sqrt(2),
    # mean 212.13, brought back to the mean of 250: 166.67 and 333.33.
    usual = benchmark.usual_intake(people, everyone, 3)
    assert usual == pytest.approx([500 / 3, 1000 / 3, float("nan"), float("nan")], nan_ok=True)
    assert benchmark.usual_intake(people, everyone, 0)[:2] == pytest.approx([100, 400])


def test_requirement_changes_after_thirty(benchmark) -> None:
    age, female = pd.Series([30, 31, 30, 31]), pd.Series([0, 0, 1, 1])
    assert benchmark.required(age, female).tolist() == [330, 350, 255, 265]


@pytest.mark.data
def test_adults_with_diet_and_creatinine(benchmark, shared_data: Path) -> None:
    people = benchmark.read_people(shared_data / "nhanes", None)
    # The number that the data's own description states.
    assert (people["adult"] & people["creatinine"].notna()).sum() == 37_637
