"""Where a value lies in the cohort: percentiles, ties, protection of few people, old bundles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from magml.bundle import load, write_bundle
from magml.bundle.manifest import MANIFEST, manifest_hash
from magml.errors import BundleError
from magml.explanations.reference import LEVELS, ReferenceCohort
from tests import bundle_parts as parts


def table(values: np.ndarray, persons: object = None) -> ReferenceCohort:
    people = range(len(values)) if persons is None else persons
    return ReferenceCohort.of(np.asarray(values, dtype=float)[:, None], ["lab.x.last"], people)


def test_percentiles_are_those_of_the_values() -> None:
    rng = np.random.default_rng(3)
    values = rng.permutation(np.arange(1, 2001) / 10.0)
    found = table(values)
    # The k-th of 2,000 equally spaced values: the p-th percentile is the 20 p-th, 2 p.
    for level, value in zip(LEVELS, found.quantiles[0], strict=True):
        assert value == pytest.approx(2 * level)
    position = found.position("lab.x.last", 93.0)
    assert (position.low, position.high, position.people) == (45, 50, 2000)
    assert position.percentile == pytest.approx(46.5)
    assert found.position("lab.x.last", 1e6).words() == "above percentile 99 of the cohort"
    assert found.position("lab.x.last", float("nan")) is None
    assert found.position("lab.other", 1.0) is None


def test_ties_lie_in_the_middle() -> None:
    # 30% are 1, 60% are 2, 10% are 3: 2 holds the percentiles 35 to 90 of the table.
    values = np.repeat([1.0, 2.0, 3.0], [300, 600, 100])
    position = table(values).position("lab.x.last", 2.0)
    assert position.percentile == pytest.approx((35 + 90) / 2)
    assert (position.low, position.high) == (30, 95)


def test_a_yes_or_no_is_told_by_its_share() -> None:
    found = table(np.repeat([0.0, 1.0, np.nan], [150, 50, 800]))
    assert found.position("lab.x.last", 1.0).share == pytest.approx(0.25)
    assert found.position("lab.x.last", 0.0).words() == "as in 75% of the cohort"
    assert found.position("lab.x.last", 0.0).known == pytest.approx(0.2)


def test_nothing_is_stated_of_fewer_than_ten_people() -> None:
    # Nine with the answer 1 among 500: neither their share nor any percentile at 1.
    rare = table(np.repeat([0.0, 1.0], [491, 9]))
    assert rare.ones == (None,)
    assert set(rare.quantiles[0]) <= {0.0, None}
    assert rare.position("lab.x.last", 1.0).share is None
    # The 11th of 1,000 values is the first that ten people do not exceed.
    values = np.arange(1000.0)
    stated = [v for v in table(values).quantiles[0] if v is not None]
    assert min(stated) >= 9
    assert max(stated) <= 990
    # 1,000 rows of 9 people are 9 people.
    assert set(table(values, np.arange(1000) % 9).quantiles[0]) == {None}
    # One person's 300 lowest rows do not open the tail.
    persons = np.where(np.arange(1000) < 300, 0, np.arange(1000))
    stated = [v for v in table(values, persons).quantiles[0] if v is not None]
    assert min(stated) >= 300 + 8
    assert table(np.full(9, 2.0)).known == (None,) or table(np.full(9, 2.0)).quantiles[0][0] is None
    almost = np.where(np.arange(500) < 5, np.nan, 1.5)
    assert table(almost).known == (None,)


def test_a_table_survives_its_bundle(tmp_path: Path) -> None:
    contents = parts.contents()
    write_bundle(tmp_path / "bundle", contents)
    model = load(tmp_path / "bundle")
    assert model.reference == contents.reference
    assert model.reference.names == tuple(model.plan.features)
    size = (tmp_path / "bundle" / "reference.json").stat().st_size
    assert size < 10_000


def test_a_bundle_of_the_first_format_loads_without_a_table(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", parts.contents())
    folder = Path(shutil.copytree(tmp_path / "bundle", tmp_path / "old"))
    (folder / "reference.json").unlink()
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["files"]["reference.json"]
    manifest["version"] = 1
    manifest["hash"] = manifest_hash(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    old, new = load(folder), load(tmp_path / "bundle")
    X = parts.matrix(50, seed=4)[0]
    assert old.reference is None
    np.testing.assert_array_equal(old.score_matrix(X).risk, new.score_matrix(X).risk)
    # The second format without its table is incomplete, not old.
    manifest["version"] = 2
    manifest["hash"] = manifest_hash(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"holds no reference\.json"):
        load(folder)


def test_a_table_that_does_not_read_is_refused() -> None:
    plain = table(np.arange(100.0)).to_dict()
    assert ReferenceCohort.from_dict(json.loads(json.dumps(plain))) == table(np.arange(100.0))
    with pytest.raises(BundleError, match="percentiles does not read"):
        ReferenceCohort.from_dict({**plain, "features": {"a": {}}})
    with pytest.raises(BundleError, match="not those that this version reads"):
        ReferenceCohort.from_dict({**plain, "levels": [50]})
