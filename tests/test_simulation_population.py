"""The simulator's people beside the survey they are drawn after."""

import numpy as np
import pytest
from scipy.stats import norm

from magml.errors import InputError
from magml.models import magnesium_depletion_score
from magml.simulation.population import MG_PER_MMOL, Population, draw_population
from magml.simulation.tables import simulation_table

SEXES = ("men", "women")


@pytest.fixture(scope="module")
def people() -> Population:
    return draw_population(120_000, np.random.default_rng(11))


def groups(people: Population):
    """Yield sex, band and who belongs to them, for the bands from 30 to 79."""
    ages = simulation_table("population")["ages"]
    for sex, female in zip(SEXES, (False, True), strict=True):
        for band in range(1, 6):
            belongs = (people.age >= ages[band]) & (people.age < ages[band + 1])
            yield sex, band, belongs & (people.female == female)


def test_shares_of_age_and_sex_are_the_survey_s(people):
    table = simulation_table("population")["share"]
    adults = people.age >= 20
    whole = sum(table["men"]) + sum(table["women"])
    for sex, band, group in groups(people):
        assert group.sum() / adults.sum() == pytest.approx(table[sex][band] / whole, abs=0.005)


@pytest.mark.parametrize("name", ["diabetes", "hypertension", "heart_failure", "cancer"])
def test_prevalence_of_diseases_by_age_and_sex(people, name):
    table = simulation_table("population")["prevalence"][name]
    has = people.has(name)
    for sex, band, group in groups(people):
        seen, share = has[group].mean(), table[sex][band]
        # Sampling error, and the line that is drawn between the middles of the bands.
        error = 4 * np.sqrt(share * (1 - share) / group.sum())
        assert abs(seen - share) < error + 0.006 + 0.08 * share, (sex, band, seen, share)


@pytest.mark.parametrize("name", ["ppi", "thiazide", "loop", "k_sparing", "metformin", "insulin"])
def test_use_of_drugs_by_age_and_sex(people, name):
    table = simulation_table("population")["prevalence"][name]
    for sex, band, group in groups(people):
        seen, share = people.users[name][group].mean(), table[sex][band]
        error = 4 * np.sqrt(share * (1 - share) / group.sum())
        assert abs(seen - share) < error + 0.006 + 0.08 * share, (sex, band, seen, share)


@pytest.mark.parametrize("name", ["bmi", "egfr", "intake"])
def test_quantiles_by_age_and_sex(people, name):
    table = simulation_table("population")
    values = people.intake * MG_PER_MMOL if name == "intake" else getattr(people, name)
    for sex, band, group in groups(people):
        for row, share in enumerate(table["quantiles"]):
            if 0.05 < share < 0.95:
                published = table["continuous"][name][sex][row][band]
                assert np.quantile(values[group], share) == pytest.approx(published, rel=0.06)


def test_depletion_score_is_distributed_as_in_nhanes_although_it_was_not_fitted(people):
    # docs/sources-nhanes.md, default variant: 50.80, 32.16, 12.20, 4.06, 0.76, 0.01 %.
    score = magnesium_depletion_score(
        diuretic=people.users["thiazide"] | people.users["loop"] | people.users["k_sparing"],
        ppi=people.users["ppi"],
        egfr=people.egfr,
        drinks_per_day=people.drinks,
        female=people.female,
    )[people.age >= 20]
    shares = [100 * np.mean(score == k) for k in range(6)]
    assert shares == pytest.approx([50.80, 32.16, 12.20, 4.06, 0.76, 0.01], abs=1.2)


def test_what_belongs_together_is_found_together(people):
    older = people.age >= 60
    sick = people.has("hypertension")

    def odds(a, b):
        both = [np.sum((a == x)[older] & (b == y)[older])
                for x in (True, False) for y in (True, False)]  # fmt: skip
        return both[0] * both[3] / (both[1] * both[2])

    assert odds(sick, people.users["thiazide"]) > 5
    assert odds(people.has("heart_failure"), people.users["loop"]) > 8
    assert not np.any(people.users["insulin"] & ~people.has("known_diabetes"))
    assert np.corrcoef(np.log(people.gfr), np.log(people.egfr))[0, 1] < 0.95


def test_correlation_of_scores_is_that_of_the_table(people):
    table = simulation_table("population")
    names = table["correlation"]["names"]
    stated = table["correlation"]["rows"][names.index("bmi") - 1][0]
    group = ~people.female & (people.age > 40) & (people.age < 42)
    ranks = [norm.ppf((np.argsort(np.argsort(v)) + 0.5) / len(v))
             for v in (people.bmi[group], people.height[group])]  # fmt: skip
    assert np.corrcoef(*ranks)[0, 1] == pytest.approx(stated, abs=0.1)


def test_patients_of_a_hospital_are_older_and_sicker():
    near = draw_population(4000, np.random.default_rng(2))
    far = draw_population(4000, np.random.default_rng(2), "hospital")
    assert far.age.mean() > near.age.mean() + 4
    for name in ("heart_failure", "transplant", "malnutrition"):
        assert far.has(name).mean() > 1.8 * near.has(name).mean()


def test_equal_seeds_give_equal_people_and_others_do_not():
    one, same, other = (draw_population(300, np.random.default_rng(s)) for s in (5, 5, 6))
    assert np.array_equal(one.gfr, same.gfr)
    assert np.array_equal(one.onset["gout"], same.onset["gout"])
    assert not np.array_equal(one.gfr, other.gfr)


def test_rare_conditions_have_the_prevalence_stated():
    people = draw_population(200_000, np.random.default_rng(3))
    for name, rule in simulation_table("conditions")["rare"].items():
        share = rule["prevalence"]
        error = 4 * np.sqrt(share / people.n)
        assert people.diseases[name].mean() == pytest.approx(share, abs=error)


def test_wrong_settings_are_refused():
    with pytest.raises(InputError, match="community or hospital"):
        draw_population(10, np.random.default_rng(1), "ward")
    with pytest.raises(InputError, match="at least 1"):
        draw_population(0, np.random.default_rng(1))
