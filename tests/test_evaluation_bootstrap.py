"""The bootstrap: what is resampled, how reproducible it is, and whether intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from magml.evaluation import Bootstrap, evaluate, percentile_interval
from magml.evaluation import bootstrap as bootstrap_module
from magml.evaluation.discrimination import rank, tally


def weights_of(draws: Bootstrap) -> np.ndarray:
    return np.vstack(list(draws))


def test_whole_groups_are_drawn():
    codes = np.repeat(np.arange(50), 4)
    events = np.tile([True, False, False, False], 50)
    drawn = weights_of(Bootstrap(codes, events, np.ones(200), replicates=100, seed=1))
    by_group = drawn.reshape(100, 50, 4)
    assert np.all(by_group == by_group[:, :, :1])
    assert np.all(by_group[:, :, 0].sum(axis=1) == 50)
    # Counts are binomial(50, 1/50): mean 1, variance 0.98; 5,000 counts.
    assert by_group[:, :, 0].var() == pytest.approx(0.98, abs=0.1)


def test_row_weights_multiply_the_draws():
    events, ones = np.tile([True, False], 20), np.ones(40)
    weights = np.linspace(0.5, 2.0, 40)
    plain = weights_of(Bootstrap(np.arange(40), events, ones, replicates=20, seed=3))
    weighted = weights_of(Bootstrap(np.arange(40), events, weights, replicates=20, seed=3))
    np.testing.assert_array_equal(weighted, plain * weights)


def test_resamples_depend_on_the_seed_alone(monkeypatch):
    codes, events = np.arange(30), np.arange(30) < 2
    draws = Bootstrap(codes, events, np.ones(30), replicates=50, seed=5)
    first = weights_of(draws)
    redrawn = draws.redrawn
    np.testing.assert_array_equal(weights_of(draws), first)
    assert draws.redrawn == redrawn
    monkeypatch.setattr(bootstrap_module, "_BLOCK", 90)  # three replicates a block
    blocks = list(draws)
    assert {len(block) for block in blocks} == {3, 2}
    np.testing.assert_array_equal(np.vstack(blocks), first)
    other = weights_of(Bootstrap(codes, events, np.ones(30), replicates=50, seed=6))
    assert not np.array_equal(other, first)


def test_resamples_of_one_class_are_drawn_again_and_counted():
    events = np.arange(50) < 1
    draws = Bootstrap(np.arange(50), events, np.ones(50), replicates=400, seed=2)
    drawn = weights_of(draws)
    assert np.all(drawn[:, 0] > 0)
    # The event is missed with probability (49/50)^50 = 0.364, so about 229 for 400 successes.
    expected = 400 * 0.364 / 0.636
    assert draws.redrawn == pytest.approx(expected, abs=4 * np.sqrt(400 * 0.364) / 0.636)


def test_interval_of_a_mean_is_the_textbook_one():
    generator = np.random.default_rng(0)
    n = 1000
    events = generator.random(n) < 0.3
    risks = np.where(events, 0.6, 0.2) + generator.uniform(-0.1, 0.1, n)
    done = evaluate(events, {"model": risks}, groups=np.arange(n), replicates=2000, seed=1)
    squares = (risks - events) ** 2
    error = squares.std() / np.sqrt(n)
    value, low, high = done.value("brier")
    assert value == pytest.approx(squares.mean())
    # Two quantiles of 2,000 replicates: each within 3 of its own standard errors, 0.06 sd.
    assert low == pytest.approx(squares.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(squares.mean() + 1.96 * error, abs=0.2 * error)


def test_auroc_interval_covers_the_truth():
    truth = norm.cdf(1.0 / np.sqrt(2.0))  # two normals one standard deviation apart
    generator = np.random.default_rng(11)
    trials, covered = 300, 0
    events = np.arange(200) < 60
    for trial in range(trials):
        score = generator.normal(events.astype(float), 1.0)
        ranking = rank(events, score)
        draws = Bootstrap(np.arange(200), events, np.ones(200), replicates=200, seed=trial)
        replicates = np.concatenate([tally(ranking, block).auroc() for block in draws])
        low, high = percentile_interval(replicates)
        covered += low <= truth <= high
    # With a true coverage of 93 to 96% all but one in a thousand runs lie within these counts.
    assert binom.ppf(0.001, trials, 0.93) <= covered <= binom.ppf(0.999, trials, 0.965)


def test_copied_rows_of_a_patient_add_no_certainty():
    generator = np.random.default_rng(4)
    events = generator.random(150) < 0.3
    risks = np.clip(0.2 + 0.2 * events + generator.normal(0, 0.15, 150), 0.01, 0.99)
    once = evaluate(events, {"m": risks}, groups=np.arange(150), replicates=200)
    patients = np.repeat(np.arange(150), 5)
    copies = np.repeat(events, 5), {"m": np.repeat(risks, 5)}
    grouped = evaluate(copies[0], copies[1], groups=patients, replicates=200)
    by_row = evaluate(copies[0], copies[1], groups=np.arange(750), replicates=200)
    for metric in ("auroc", "auprc", "log_loss", "calibration_intercept"):
        np.testing.assert_allclose(grouped.value(metric), once.value(metric), atol=1e-6)
        _, low, high = grouped.value(metric)
        _, naive_low, naive_high = by_row.value(metric)
        # Five copies narrow a naive interval by sqrt(5) = 2.2.
        assert high - low > 1.6 * (naive_high - naive_low)


def test_percentile_interval_withholds_what_mostly_failed():
    values = np.column_stack([np.arange(100.0), np.arange(100.0), np.arange(100.0)])
    values[:5, 1] = np.nan
    values[:20, 2] = np.nan
    low, high = percentile_interval(values)
    np.testing.assert_allclose(low[:2], [2.475, np.quantile(np.arange(5.0, 100.0), 0.025)])
    assert np.isfinite(high[:2]).all()
    assert np.isnan(low[2])
    assert np.isnan(high[2])
