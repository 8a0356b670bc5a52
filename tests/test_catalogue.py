"""The clinical catalogue: what must be there, and what must never be a feature."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from magml.definitions import Catalogue, read_catalogue, read_model
from magml.experiments.inputs import model_features
from magml.features import compile_plan
from magml.units import canonical_unit, conversion

ROOT = Path(__file__).resolve().parent.parent
#: Analytes that matter most for magnesium, and the inputs of kidney function.
KEY_ANALYTES = [
    "potassium",
    "sodium",
    "chloride",
    "bicarbonate",
    "calcium",
    "calcium_ionised",
    "phosphate",
    "creatinine",
    "urea",
    "albumin",
    "glucose",
    "haematocrit",
    "magnesium",
    "lactate",
    "ph",
    "platelets",
    "white_cells",
]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue(ROOT)


def test_it_is_large_enough(catalogue: Catalogue) -> None:
    domains = [domain for _, domain, _ in catalogue.concepts()]
    assert domains.count("lab") >= 30
    assert domains.count("medication") >= 20
    assert domains.count("comorbidity") >= 20
    with_features = [name for name, _, concept in catalogue.concepts() if concept.features]
    assert sum(name.startswith("lab.") for name in with_features) >= 30
    assert sum(name.startswith("medication.") for name in with_features) >= 20
    assert sum(name.startswith("comorbidity.") for name in with_features) >= 20


def test_it_compiles_and_stays_of_a_size_that_small_data_bear(catalogue: Catalogue) -> None:
    plan = compile_plan(catalogue)
    assert len(plan.features) == len(catalogue.features) <= 1000


@pytest.mark.parametrize("analyte", KEY_ANALYTES)
def test_key_analytes_have_their_last_value_and_a_usual_range(
    catalogue: Catalogue, analyte: str
) -> None:
    concept = catalogue.by_name[f"lab.{analyte}"]
    assert f"lab.{analyte}.last" in catalogue.features
    assert concept.usual is not None
    assert concept.plausible is not None


def test_usual_lies_within_plausible(catalogue: Catalogue) -> None:
    for name, concept in catalogue.by_name.items():
        if concept.usual is not None:
            assert concept.plausible is not None, name
            low, high = concept.usual.median
            assert concept.plausible[0] <= low < high <= concept.plausible[1], name
        if concept.reference is not None and concept.usual is not None:
            # The range of healthy people overlaps that of the medians of populations.
            assert concept.reference[0] <= concept.usual.median[1], name
            assert concept.reference[1] >= concept.usual.median[0], name


def test_every_unit_is_known_and_converts_to_itself(catalogue: Catalogue) -> None:
    for name, concept in catalogue.by_name.items():
        if concept.kind == "measurement" and concept.unit is not None:
            assert canonical_unit(concept.unit) == concept.unit, name
            assert conversion(concept.unit, concept) == (1.0, 0.0), name


def test_an_analyte_in_moles_converts_from_mass(catalogue: Catalogue) -> None:
    for name, concept in catalogue.by_name.items():
        if name.startswith("lab.") and concept.unit in ("mmol/L", "umol/L", "nmol/L", "pmol/L"):
            equivalents_only = concept.valence is not None and concept.molar_mass is None
            unit = "meq/L" if equivalents_only else "mg/dL"
            scale, shift = conversion(unit, concept)
            assert scale > 0, name
            assert shift == 0, name


def test_the_diagnosis_itself_has_no_feature(catalogue: Catalogue) -> None:
    owners = [
        (name, concept)
        for name, concept in catalogue.by_name.items()
        for code in concept.codes
        if code.replace(".", "") in ("ICD10CM//E8341", "ICD10CM//E8342", "ICD9CM//2752")
    ]
    assert len(owners) >= 3
    for name, concept in owners:
        assert concept.reveals == ("hypomagnesemia",), name
        assert not concept.features, name


def test_magnesium_treatment_and_urine_magnesium_reveal_the_outcome(catalogue: Catalogue) -> None:
    for name in (
        "medication.magnesium_intravenous",
        "medication.magnesium_oral",
        "procedure.magnesium_administration",
        "care.electrolyte_protocol",
        "lab.magnesium_urine",
        "lab.fractional_excretion_magnesium",
    ):
        assert catalogue.by_name[name].reveals == ("hypomagnesemia",), name


#: Derived features of which an input reveals the outcome, each of them on purpose.
REVEALING = {
    "lab.femg",
    "lab.urine_magnesium_creatinine",
    "medication.magnesium_elemental",
}


def test_what_derives_from_a_revealing_concept_is_in_no_screening_model(
    catalogue: Catalogue,
) -> None:
    revealing = {name for name, concept in catalogue.by_name.items() if concept.reveals}

    def behind(name: str) -> set[str]:
        if name in catalogue.derived:
            return set().union(*(behind(x) for x in catalogue.derived[name].input_names))
        return {catalogue.features[name].concept}

    assert {name for name in catalogue.derived if behind(name) & revealing} == REVEALING
    screening = [
        definition
        for path in sorted((ROOT / "models").glob("*.yaml"))
        if (definition := read_model(path)).screening
    ]
    assert screening
    for definition in screening:
        assert not REVEALING.intersection(model_features(catalogue, definition))


def test_race_is_known_but_never_a_feature(catalogue: Catalogue) -> None:
    races = [name for name in catalogue.by_name if re.match(r"demographic\.(race|ethnicity)", name)]
    assert len(races) >= 5
    assert not any(feature.concept in races for feature in catalogue.features.values())


def test_verified_means_read_at_the_source(catalogue: Catalogue) -> None:
    for name, item in [*catalogue.by_name.items(), *catalogue.derived.items()]:
        if item.verified:
            assert item.evidence, name
            for key in item.evidence:
                assert catalogue.references[key].read == "source", (name, key)


def test_every_reference_is_cited_and_every_lowering_drug_says_how(catalogue: Catalogue) -> None:
    cited = {
        key
        for item in [*catalogue.by_name.values(), *catalogue.derived.values()]
        for key in item.evidence
    }
    assert set(catalogue.references) == cited
    for name, concept in catalogue.by_name.items():
        if name.startswith("medication.") and concept.direction in ("lowers", "raises"):
            assert concept.mechanism, name


def test_no_model_is_constrained_by_mechanism(catalogue: Catalogue) -> None:
    assert not any(concept.constraint for concept in catalogue.by_name.values())
