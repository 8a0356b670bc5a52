"""The drug matcher against names that a reader labelled before it was run on them."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from magml.definitions import read_catalogue

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return _script("drug_matcher")


def _script(name: str) -> ModuleType:
    """Load a script of the benchmarks as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def names(benchmark: ModuleType) -> list:
    return benchmark.read(catalogue=ROOT)


def _draw(names: list, draw: str) -> list:
    return [name for name in names if name.draw == draw]


def test_labels_are_complete_and_known(names: list, benchmark: ModuleType) -> None:
    assert Counter(n.draw for n in names) == {"rows": 349, "names": 300, "home": 179}
    assert sum(n.weight for n in _draw(names, "rows")) == 500
    assert sum(n.weight for n in _draw(names, "home")) == 300
    known = {
        concept.removeprefix("medication.")
        for concept, domain, _ in read_catalogue(ROOT).concepts()
        if domain == "medication"
    }
    assert set().union(*(n.labelled for n in names)) <= known
    assert known >= benchmark.DETERMINANTS | benchmark.SINGLE_DRUGS


@pytest.mark.parametrize("draw", ["rows", "names", "home"])
def test_at_least_95_percent_of_relevant_rows_are_matched(
    names: list, benchmark: ModuleType, draw: str
) -> None:
    own = _draw(names, draw)
    assert benchmark.recall(own, benchmark.DETERMINANTS).value >= 0.95
    assert benchmark.recall(own).value >= 0.95
    # The interval too lies above 90%: the figure is not a matter of luck.
    assert benchmark.recall(own, benchmark.DETERMINANTS).interval[0] > 0.9


@pytest.mark.parametrize("draw", ["rows", "names", "home"])
def test_what_is_matched_is_right(names: list, benchmark: ModuleType, draw: str) -> None:
    own = _draw(names, draw)
    assert benchmark.precision(own, benchmark.DETERMINANTS).value >= 0.98
    assert benchmark.precision(own).value >= 0.95


def test_recall_and_precision_by_hand(benchmark: ModuleType) -> None:
    both = frozenset({"insulin", "laxative"})
    made = [
        benchmark.Labelled("rows", "both, one found", 3, both, frozenset({"insulin"})),
        benchmark.Labelled("rows", "found", 5, frozenset({"insulin"}), frozenset({"insulin"})),
        benchmark.Labelled("rows", "wrongly found", 2, frozenset(), frozenset({"laxative"})),
        benchmark.Labelled("rows", "rightly not found", 90, frozenset(), frozenset()),
    ]
    assert (benchmark.recall(made).count, benchmark.recall(made).of) == (5, 8)
    assert (benchmark.precision(made).count, benchmark.precision(made).of) == (8, 10)
    assert benchmark.recall(made, ["insulin"]).value == 1
    assert benchmark.recall(made, ["laxative"]).value == 0
    assert benchmark.precision(made, ["laxative"]).value == 0


def test_wilson_interval_as_published(benchmark: ModuleType) -> None:
    # Newcombe, Stat Med 1998;17:857-72, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (count, of), expected in published.items():
        assert benchmark.Share(count, of).interval == pytest.approx(expected, abs=6e-5)


@pytest.mark.data
def test_labels_are_those_of_the_stated_draws(names: list, shared_data: Path) -> None:
    import pyarrow.parquet as pq

    def written(table: str) -> list[str]:
        path = shared_data / "eicu_demo" / f"{table}.parquet"
        found = pq.read_table(path, columns=["drugname"])["drugname"].to_pylist()
        return [name.strip() for name in found if name and name.strip()]

    orders, home = written("medication"), written("admissiondrug")
    assert len(orders) == 44_943
    for draw, table, seed, size in (("rows", orders, 20261124, 500), ("home", home, 20261125, 300)):
        drawn = np.random.default_rng(seed).choice(len(table), size, replace=False)
        expected = Counter(table[k] for k in drawn)
        assert {n.name: n.weight for n in _draw(names, draw)} == expected
    first = {n.name for n in _draw(names, "rows")}
    rest = sorted(set(orders) - first)
    assert [n.name for n in _draw(names, "names")] == [rest[k * 1052 // 300] for k in range(300)]


@pytest.mark.data
def test_classes_that_others_gave_the_drugs_of_nhanes(
    benchmark: ModuleType, shared_data: Path
) -> None:
    drugs = _script("drug_matcher_nhanes").read(shared_data / "nhanes", ROOT)
    figures = _script("drug_matcher_nhanes").figures(drugs)
    assert figures["recall, prescriptions"].of > 37_000
    assert figures["recall, prescriptions"].value >= 0.98
    assert figures["precision, prescriptions"].value >= 0.99
    # What the matcher leaves out on purpose, or because the bare name does not tell the route.
    assert {d.name for d in drugs if d.missed} <= KNOWN_DIFFERENCES


#: Epinephrine and isoproterenol are catecholamines; neomycin stays in the gut; budesonide and
#: triamcinolone are mostly inhaled or topical.
KNOWN_DIFFERENCES = {
    "BUDESONIDE",
    "BUDESONIDE; FORMOTEROL",
    "CHLORPHENIRAMINE; EPINEPHRINE",
    "EPINEPHRINE",
    "ISOPROTERENOL",
    "NEOMYCIN",
    "TRIAMCINOLONE",
}
