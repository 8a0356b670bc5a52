"""The comparison of main reasons with true causes: its names, its counting, its intervals."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from magml.definitions import read_catalogue
from magml.simulation.people import AGENTS, CONDITIONS

PLACE = Path(__file__).parents[1] / "benchmarks" / "main_reasons.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("main_reasons", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_causes_and_concepts_are_those_of_simulator_and_catalogue(benchmark: ModuleType) -> None:
    catalogue = read_catalogue()
    known = {feature.concept for feature in catalogue.features.values()}
    named = {concept for concepts in benchmark.RECORDED.values() for concept in concepts}
    assert not named - known
    assert not set(benchmark.RECORDED) - {*AGENTS, *CONDITIONS, "intake"}
    assert {concept.split(".")[0] for concept in named} <= set(benchmark.CAUSAL)


def test_rates_by_hand(benchmark: ModuleType) -> None:
    """Of four people the main reason names the domain in three, the ranking in two."""
    table = pd.DataFrame({
        "world": [0, 0, 1, 1],
        "cause": ["ppi", "thiazide", "diabetes", "alcohol_use"],
        "local_domain": ["medication", "lab", "comorbidity", "diet"],
        "local_causal": ["medication", "medication", "comorbidity", "diet"],
        "local_concept": ["medication.omeprazole", "medication.loop_diuretic",
                          "comorbidity.diabetes", "diet.alcohol"],
        "global_domain": "medication", "global_causal": "medication",
        "global_concept": "medication.thiazide",
    })  # fmt: skip
    found = benchmark.rates(table, replicates=50)
    assert found["local_domain"][0] == 0.75
    assert found["local_causal"][0] == 1.0
    assert found["local_concept"][0] == 0.75
    assert found["global_domain"][0] == 0.5
    assert found["global_concept"][0] == 0.25
    assert found["gain_domain"][0] == 0.25
    value, low, high = found["gain_causal"]
    assert low <= value <= high
    assert found["local_causal"] == [1.0, 1.0, 1.0]
