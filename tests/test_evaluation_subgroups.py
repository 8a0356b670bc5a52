"""Performance in subgroups: equal to the whole evaluation of those rows alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from magml.errors import InputError
from magml.evaluation import evaluate
from magml.evaluation.subgroups import SUBGROUP_METRICS, measure_subgroups


def sample(n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    score = generator.normal(-0.8, 1.0, n)
    return generator.random(n) < expit(score), expit(score), generator.integers(0, 2, n)


def test_a_subgroup_equals_the_evaluation_of_its_rows_alone() -> None:
    labels, risk, sex = sample()
    names = np.where(sex == 1, "female", "male")
    found = measure_subgroups(
        labels, {"m": risk}, {"sex": names}, groups=np.arange(400), replicates=100, seed=7
    )
    assert found.suppressed == {"sex": 0}
    for name in ("female", "male"):
        inside = names == name
        alone = evaluate(
            labels[inside], {"m": risk[inside]}, groups=np.arange(inside.sum()),
            replicates=100, seed=7,
        )  # fmt: skip
        part = found.table[found.table["subgroup"] == name].set_index("metric")
        for metric in SUBGROUP_METRICS:
            got = part.loc[metric, ["value", "low", "high"]].to_numpy(dtype=float)
            np.testing.assert_allclose(got, alone.value(metric), rtol=1e-9)
        assert part["n"].unique().tolist() == [inside.sum()]
        assert part["events"].unique().tolist() == [labels[inside].sum()]


def test_observed_to_expected_is_counted_by_hand() -> None:
    # 12 of 40 observed, 40 x 0.25 = 10 expected.
    labels = np.array([1] * 12 + [0] * 28)
    found = measure_subgroups(
        labels, {"m": np.full(40, 0.25)}, {"all": ["a"] * 40}, groups=np.arange(40), replicates=50
    )
    table = found.table.set_index("metric")["value"]
    assert table["observed_expected"] == pytest.approx(1.2)
    assert table["auroc"] == pytest.approx(0.5)
    assert np.isnan(table["calibration_slope"])  # one risk for all has no slope
    # log-odds of 12/40 less those of 1/4
    assert table["calibration_intercept"] == pytest.approx(np.log(12 / 28) - np.log(1 / 3))


@pytest.mark.parametrize(("cases", "others"), [(9, 50), (50, 9)])
def test_nine_cases_or_nine_others_are_not_shown(cases: int, others: int) -> None:
    labels = np.array([1] * cases + [0] * others + [1] * 10 + [0] * 10)
    groups = ["small"] * (cases + others) + ["ten"] * 20
    risk = np.linspace(0.1, 0.9, len(labels))
    found = measure_subgroups(
        labels, {"m": risk}, {"unit": groups}, groups=np.arange(len(labels)), replicates=20
    )
    assert set(found.table["subgroup"]) == {"ten"}
    assert found.suppressed == {"unit": 1}


def test_rows_without_a_subgroup_are_left_out_and_one_site_resamples_people() -> None:
    labels, risk, _ = sample()
    sites = np.array(["a"] * 150 + ["b"] * 150 + [None] * 100, dtype=object)
    codes = np.repeat([0, 1, 2], [150, 150, 100])
    found = measure_subgroups(
        labels, {"m": risk}, {"site": sites}, groups=codes, persons=np.arange(400), replicates=20
    )
    assert found.table.groupby("subgroup")[["n", "groups"]].first().to_numpy().tolist() == [
        [150, 150],
        [150, 150],
    ]


def test_lengths_that_do_not_fit_are_refused() -> None:
    labels, risk, _ = sample()
    with pytest.raises(InputError, match="3 subgroups"):
        measure_subgroups(labels, {"m": risk}, {"sex": ["a"] * 3}, groups=np.arange(400))
