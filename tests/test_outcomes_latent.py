"""Latent classes: recovery of a known class, corrections against StepMix, honest refusals."""

from __future__ import annotations

import numpy as np
import pytest

from magml.definitions import read_outcome
from magml.definitions.body_status import Indicator, LatentClass
from magml.errors import CohortError, InputError
from magml.evaluation import auroc
from magml.outcomes import Measured, evaluate_classes, fit_classes, three_step

pytest.importorskip("stepmix")
pytestmark = pytest.mark.filterwarnings("ignore")

MEASURES = {
    "magnesium_intake": ("mg/d", 0.9, 0.2),
    "urine_magnesium_24h": ("mmol/d", 1.3, 0.3),
    "ionised_magnesium": ("mmol/L", 1.3, 0.1),
    "red_cell_magnesium": ("mmol/L", 1.0, 0.1),
    "serum_magnesium": ("mmol/L", 0.4, 0.0),
}


def people(seed: int, n: int = 1500, shared: float = 0.0):
    """Return who is depleted, and log-normal indicators that are lower in them, some missing."""
    rng = np.random.default_rng(seed)
    truth, common = rng.random(n) < 0.3, rng.normal(size=n)
    measured = {}
    for name, (unit, gap, missing) in MEASURES.items():
        values = rng.normal(size=n) - gap * truth
        if name in ("ionised_magnesium", "serum_magnesium"):  # both from one blood sample
            values = np.sqrt(1 - shared) * values + np.sqrt(shared) * common
        values[rng.random(n) < missing] = np.nan
        measured[name] = Measured(np.exp(values), unit)
    return truth, measured, rng


@pytest.fixture(scope="module")
def quick() -> LatentClass:
    return read_outcome("latent_status").model_copy(update={"starts": 3})  # type: ignore[return-value]


@pytest.fixture(scope="module")
def found(quick: LatentClass):
    truth, measured, rng = people(1)
    return truth, measured, fit_classes(quick, measured, seed=1), rng


def test_class_probabilities_beat_every_single_indicator_against_the_truth(found) -> None:
    truth, measured, classes, _ = found
    own = auroc(truth, classes.probability)
    for name, given in measured.items():
        values = np.asarray(given.values)
        known = ~np.isnan(values)
        alone = auroc(truth[known], 1 / (1 + values[known]))
        assert own > alone + 0.02, name
    assert classes.level.label == "latent class"
    assert np.allclose(classes.probabilities.sum(axis=1), 1)


def test_on_the_scale_log_the_unit_of_an_indicator_and_its_skew_do_not_matter(
    found, quick: LatentClass
) -> None:
    """Log-normal indicators: on the plain scale the classes are of the skew, and tell less."""
    truth, measured, classes, _ = found
    scaled = {name: Measured(3.7 * np.asarray(m.values), m.unit) for name, m in measured.items()}
    again = fit_classes(quick, scaled, seed=1)
    assert again.probability == pytest.approx(classes.probability, abs=1e-6)
    plain = quick.model_copy(
        update={"agreeing": 0.51, "indicators": tuple(
            i.model_copy(update={"scale": "plain"}) for i in quick.indicators
        )}
    )  # fmt: skip
    skewed = fit_classes(plain, measured, seed=1)
    assert auroc(truth, classes.probability) > auroc(truth, skewed.probability) + 0.02


def test_the_depleted_class_is_named_by_the_rule(found) -> None:
    truth, _, classes, _ = found
    assert classes.on_depleted_side == dict.fromkeys(MEASURES, True)
    assert classes.probability[truth].mean() > classes.probability[~truth].mean()
    assert (classes.means[classes.depleted] < 0).all()


def test_no_class_is_called_depleted_where_the_indicators_disagree(quick: LatentClass) -> None:
    _, measured, _ = people(2)
    turned = {
        name: Measured(1 / np.asarray(given.values), given.unit) if place < 2 else given
        for place, (name, given) in enumerate(measured.items())
    }
    with pytest.raises(CohortError, match="no class is depleted"):
        fit_classes(quick, turned, seed=1)


def test_indicators_that_share_an_error_are_reported(found, quick: LatentClass) -> None:
    _, _, independent, _ = found
    _, measured, _ = people(3, shared=0.6)
    dependent = fit_classes(quick, measured, seed=1)
    pair = ("ionised_magnesium", "serum_magnesium")
    assert pair in dependent.dependent
    assert pair not in independent.dependent


def test_corrected_means_are_those_of_the_truth_and_of_stepmix(found) -> None:
    truth, _, classes, _ = found
    x = np.random.default_rng(9).normal(size=len(truth)) + 2.0 * truth
    corrected = classes.corrected()
    own = (corrected * x).sum() / corrected.sum()
    soft = (classes.probability * x).sum() / classes.probability.sum()
    assert own == pytest.approx(x[truth].mean(), abs=0.25)
    assert soft < x[truth].mean() - 0.3  # without a correction the difference is too small
    table = three_step(classes, x[:, None], kind="distal", correction="BCH")
    assert table["depleted"].iloc[0] == pytest.approx(own, abs=0.15)
    assert table["others"].iloc[0] == pytest.approx(x[~truth].mean(), abs=0.2)


def test_soft_assignment_with_bch_is_stepmixs_own(found, quick: LatentClass) -> None:
    import pandas as pd
    from stepmix.stepmix import StepMix

    truth, _, classes, _ = found
    x = np.random.default_rng(9).normal(size=len(truth)) + 2.0 * truth
    frame = pd.DataFrame(classes._indicators)
    peer = StepMix(
        2, n_steps=3, measurement={"v": {"model": "gaussian_diag_nan", "n_columns": 5}},
        structural="gaussian_unit", assignment="soft", correction="BCH", n_init=3,
        random_state=1, progress_bar=0,
    ).fit(frame, pd.DataFrame(x[:, None]))  # fmt: skip
    means = np.sort(np.asarray(peer.get_parameters()["structural"]["means"]).ravel())
    corrected = classes.corrected()
    mine = [
        ((1 - corrected) * x).sum() / (1 - corrected).sum(),
        (corrected * x).sum() / corrected.sum(),
    ]
    assert np.sort(mine) == pytest.approx(means, abs=0.02)


def test_predictors_of_the_class_are_not_pulled_to_nothing(found) -> None:
    truth, _, classes, _ = found
    x = np.random.default_rng(10).normal(size=len(truth)) + 1.0 * truth
    table = three_step(classes, x[:, None])
    # Shift of one standard deviation: log odds ratio 1 by discriminant analysis.
    assert table.set_index("column")["coefficient"]["x0"] == pytest.approx(1.0, abs=0.3)


def test_area_under_the_curve_of_risks_is_that_against_the_truth(found) -> None:
    truth, _, classes, _ = found
    x = np.random.default_rng(11).normal(size=len(truth)) + 1.5 * truth
    risk = 1 / (1 + np.exp(1.0 - x))
    hard = auroc(classes.probability > 0.5, risk)
    own = evaluate_classes(classes, risk)["auroc"]
    real = auroc(truth, risk)
    assert abs(own - real) < 0.05
    assert abs(own - real) < abs(hard - real)


def test_nobody_is_given_a_hard_label(found) -> None:
    _, _, classes, _ = found
    rows, labels, weights = classes.training_rows()
    assert np.bincount(rows).tolist() == [2] * len(classes.probabilities)
    assert weights[labels == 1] == pytest.approx(classes.probability)
    assert weights.sum() == pytest.approx(len(classes.probabilities))


def test_cut_offs_are_compared_in_the_unit_reported() -> None:
    rng = np.random.default_rng(4)
    truth = rng.random(800) < 0.4
    definition = LatentClass.model_validate(
        {
            "kind": "latent_class", "name": "x", "title": "x", "source": "x", "starts": 3,
            "indicators": [
                {"measure": "serum_magnesium", "depleted": "low", "cutoff": {"mg/dL": 1.8}},
                {"measure": "ionised_magnesium", "depleted": "low", "cutoff": {"mmol/L": 0.45}},
                {"measure": "loading_test_retention", "depleted": "high", "cutoff": {"%": 27.5}},
            ],
        }
    )  # fmt: skip
    measured = {
        "serum_magnesium": Measured(
            np.round(2.0 - 0.3 * truth + rng.normal(0, 0.2, 800), 1), "mg/dL"
        ),
        "ionised_magnesium": Measured(0.52 - 0.1 * truth + rng.normal(0, 0.06, 800), "mmol/L"),
        "loading_test_retention": Measured(6 + 30 * truth + rng.normal(0, 12, 800), "%"),
    }
    classes = fit_classes(definition, measured, seed=0)
    assert all(classes.on_depleted_side.values())
    assert auroc(truth, classes.probability) > 0.85
    # 1.8 mg/dL itself is not below 1.8 mg/dL.
    at_bound = np.asarray(measured["serum_magnesium"].values) == 1.8
    assert (classes._indicators[at_bound, 0] == 1.0).all()


def test_what_cannot_be_fitted_is_refused(quick: LatentClass) -> None:
    _, measured, _ = people(5, n=50)
    with pytest.raises(CohortError, match="at least 100"):
        fit_classes(quick, measured)
    with pytest.raises(InputError, match="not given"):
        fit_classes(quick, {})
    _, measured, _ = people(5, n=150)
    zero = Measured(np.append(np.asarray(measured["serum_magnesium"].values)[1:], 0.0), "mmol/L")
    with pytest.raises(InputError, match="1 values of serum_magnesium at or below 0"):
        fit_classes(quick, {**measured, "serum_magnesium": zero})
    indicator = {"measure": "ionised_magnesium", "depleted": "low", "cutoff": {"mmol/L": 0.45}}
    with pytest.raises(ValueError, match="a cut-off and a logarithm"):
        Indicator.model_validate({**indicator, "scale": "log"})


def test_a_report_holds_no_person(found) -> None:
    _, _, classes, _ = found
    report = classes.to_dict()
    assert report["level"]["rank"] == 3
    assert report["n"] == 1500
    assert max(len(v) for v in report.values() if isinstance(v, (list, tuple))) < 20
