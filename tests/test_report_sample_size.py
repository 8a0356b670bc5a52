"""Sample size: the documented examples of pmsampsize, and the R2 of an AUROC by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from magml.errors import InputError
from magml.report.sample_size import (
    SampleSize,
    largest_r2,
    parameters_supported,
    r2_of_auroc,
    riley_sample_size,
)


def test_the_documented_example_of_pmsampsize() -> None:
    # pmsampsize(type = "b", csrsquared = 0.288, parameters = 24, prevalence = 0.174), by hand:
    # 24 / (0.1 * -ln(1 - 0.288 / 0.9)) = 622.3; max R2 = 1 - exp(2 * -0.462173) = 0.6032,
    # S = 0.288 / (0.288 + 0.05 * 0.6032) = 0.90521, 24 / (0.09479 * 0.38296) = 661.1;
    # (1.96 / 0.05)^2 * 0.174 * 0.826 = 220.9.
    assert riley_sample_size(0.174, 24, 0.288) == SampleSize(623, 662, 221, 662, 116)


def test_the_documented_example_that_starts_from_a_c_statistic() -> None:
    # pmsampsize(type = "b", cstatistic = 0.89, parameters = 24, prevalence = 0.174)
    found = riley_sample_size(0.174, 24, r2_of_auroc(0.89, 0.174))
    assert (found.shrinkage, found.optimism, found.overall, found.needed) == (615, 660, 221, 660)


def test_largest_r2_of_the_paper() -> None:
    # Riley 2020, table: 0.33 at 0.05, 0.48 at 0.1, 0.74 at 0.4 and 0.75 at 0.5 of events.
    for prevalence, expected in ((0.05, 0.33), (0.1, 0.48), (0.4, 0.74), (0.5, 0.75)):
        assert largest_r2(prevalence) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("auroc", "prevalence"), [(0.7, 0.1), (0.8, 0.3), (0.9, 0.05)])
def test_r2_of_an_auroc_equals_a_logistic_fit_on_simulated_people(
    auroc: float, prevalence: float
) -> None:
    from scipy.optimize import minimize
    from scipy.stats import norm

    rng = np.random.default_rng(5)
    n = 400_000
    y = rng.random(n) < prevalence
    x = rng.normal(np.where(y, np.sqrt(2) * norm.ppf(auroc), 0.0), 1.0)

    def loss(b: np.ndarray) -> float:
        z = b[0] + b[1] * x
        return float(np.mean(np.logaddexp(0, z) - y * z))

    p = y.mean()
    null = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    fitted = minimize(loss, np.array([-1.0, 1.0]), method="BFGS").fun
    assert r2_of_auroc(auroc, prevalence) == pytest.approx(
        1 - np.exp(-2 * (null - fitted)), abs=0.004
    )


def test_the_most_parameters_a_sample_supports() -> None:
    for n in (300, 662, 5000):
        most = parameters_supported(n, 0.174, 0.288)
        assert riley_sample_size(0.174, most, 0.288).needed <= n
        assert riley_sample_size(0.174, most + 1, 0.288).needed > n
    assert parameters_supported(100, 0.174, 0.288) == 0  # the overall risk alone takes 221


def test_impossible_arguments_are_refused() -> None:
    for arguments in ((0.0, 5, 0.2), (0.2, 0, 0.2), (0.2, 5, 0.95)):
        with pytest.raises(InputError):
            riley_sample_size(*arguments)
    with pytest.raises(InputError):
        r2_of_auroc(0.4, 0.2)
