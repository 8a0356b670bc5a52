"""From codes and names as written to concepts."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magml.definitions import Catalogue, read_catalogue
from magml.definitions.catalogue import Concept, DomainFile
from magml.features.names import matches, normal_name, words

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue(ROOT)


#: Drug names as hospitals write them, and the classes that a pharmacist reads in them.
DRUGS = {
    "MAGNESIUM SULFATE 2 GM/50ML IVPB": {"magnesium_intravenous"},
    "magnesium sulfate 1 g in d5w 100mL **LOCKED DOSE": {"magnesium_intravenous"},
    "Volume (mL) Magnesium": {"magnesium_intravenous"},
    "MgSO4 4 gm": {"magnesium_intravenous"},
    "MAGNESIUM OXIDE 400 MG TAB": {"magnesium_oral"},
    "MAG-OX 400": {"magnesium_oral"},
    "MAGNESIUM": {"magnesium_oral"},
    "Milk of Magnesia": {"magnesium_antacid_laxative"},
    "30 ML CUP : ALUM & MAG HYDROXIDE-SIMETH 200-200-20 MG/5ML PO SUSP": {
        "magnesium_antacid_laxative"
    },
    "magnesium stearate": set(),
    "ESOMEPRAZOLE MAGNESIUM 40 MG": {"proton_pump_inhibitor"},
    "pantoprazole (PROTONIX) 40 mg": {"proton_pump_inhibitor"},
    "omeprazole-sodium bicarbonate (ZEGERID)": {"proton_pump_inhibitor"},
    "HCTZ": {"thiazide"},
    "lisinopril-hydrochlorothiazide": {"acei_arb", "thiazide"},
    "losartan/hctz 50-12.5": {"acei_arb", "thiazide"},
    "LOSARTAN POTASSIUM 50 MG PO TABS": {"acei_arb"},
    "amiloride/hctz": {"potassium_sparing_enac", "thiazide"},
    "TRIAMTERENE-HCTZ": {"potassium_sparing_enac", "thiazide"},
    "Aldactazide": {"mineralocorticoid_antagonist", "thiazide"},
    "furosemide (LASIX) inj 40 mg": {"loop_diuretic"},
    "D5W/0.45% NaCl + KCl 20 mEq": {"potassium_replacement", "intravenous_crystalloid"},
    "potassium phosphate 3 mmol/mL15 mL Inj": {"potassium_replacement", "phosphate_replacement"},
    "SODium PHOSphate 15 MMOL/100ML NS": {"phosphate_replacement"},
    "1 ML VIAL : DEXAMETHASONE SODIUM PHOSPHATE 4 MG/ML IJ SOLN": {"corticosteroid"},
    "PENICILLIN G POTASSIUM 5 MILLION UNITS": set(),
    "50 ML VIAL : SODIUM BICARBONATE 8.4 % IV SOLN": {"bicarbonate"},
    "atorvastatin calcium 40 mg": set(),
    "CALCIUM GLUCONATE 10 % IV SOLN 10ML": {"calcium_replacement"},
    "Insulin syringe": set(),
    "INSULIN-LISPRO (rDNA) *UNIT* INJ": {"insulin"},
    "HumuLIN R": {"insulin"},
    "dorzolamide ophthalmic": set(),
    "timolol 0.5% ophthalmic": set(),
    "tobramycin-dexamethasone ophthalmic": set(),
    "acetaZOLAMIDE 250 mg": {"carbonic_anhydrase_inhibitor"},
    "NITROGLYCERIN 0.4 MG SL SUBL": set(),
    "sulfamethoxazole-trimethoprim DS": {"trimethoprim"},
    "trimethoprim-polymyxin b sulf": set(),
    "lidocaine 1% with EPINEPHrine": set(),
    "NOREPINEPHRINE 8 MG in 250mL NS": {"catecholamine"},
    "tacrolimus 0.1% ointment": set(),
    "PROGRAF 1 MG CAPS": {"calcineurin_inhibitor"},
    "DuoNeb": {"beta_agonist"},
    "metFORMIN-SITagliptin (JANUMET)": {"metformin"},
    "SENNOSIDES-DOCUSATE SODIUM 8.6-50 MG PO TABS": {"laxative"},
    "docusate sodium 100 mg": set(),
    "1000 ML FLEX CONT : SODIUM CHLORIDE 0.9 % IV SOLN": {"intravenous_crystalloid"},
    "SODIUM CHLORIDE 0.9 % SYRINGE : 10 ML SYRINGE": set(),
    "LACTATED RINGER'S 1,000 ML BAG.": {"intravenous_crystalloid"},
    "Plasma-Lyte 148 infusion": {"balanced_crystalloid_with_magnesium"},
    "ASPIRIN 81 MG PO CHEW": set(),
}


#: Drugs that are concepts of their own beside their class.
SINGLE_DRUGS = {
    "omeprazole",
    "pantoprazole",
    "lansoprazole",
    "rabeprazole",
    "esomeprazole",
    "dexlansoprazole",
    "carboplatin",
    "oxaliplatin",
}


@pytest.mark.parametrize(
    ("written", "drug"),
    [
        ("pantoprazole (PROTONIX) 40 mg", "pantoprazole"),
        ("esomeprazole magnesium 40 MG", "esomeprazole"),
        ("omeprazole-sodium bicarbonate (ZEGERID)", "omeprazole"),
        ("OXALIPLATIN 100 MG/20 ML IV", "oxaliplatin"),
    ],
)
def test_a_single_drug_is_found_beside_its_class(
    catalogue: Catalogue, written: str, drug: str
) -> None:
    found = {m.removeprefix("medication.") for m in matches(catalogue, f"DRUG//{written}")}
    assert found & SINGLE_DRUGS == {drug}


@pytest.mark.parametrize("written", DRUGS)
def test_drugs_as_written(catalogue: Catalogue, written: str) -> None:
    found = {m.removeprefix("medication.") for m in matches(catalogue, f"DRUG//{written}")}
    assert found - SINGLE_DRUGS == DRUGS[written]


@pytest.mark.parametrize(
    ("code", "concept"),
    [
        ("ICD10CM//E11.9", "comorbidity.diabetes"),
        ("ICD10CM//E119", "comorbidity.diabetes"),
        ("ICD9CM//250.00", "comorbidity.diabetes"),
        ("ICD10CM//F10.239", "comorbidity.alcohol_use"),
        ("ICD10CM//N17.9", "comorbidity.acute_kidney_injury"),
        ("ICD10CM//E83.42", "comorbidity.hypomagnesemia"),
        ("ATC//A02BC01", "medication.proton_pump_inhibitor"),
        ("ATC//C03CA01", "medication.loop_diuretic"),
        ("RxNorm//7646", "medication.proton_pump_inhibitor"),
        ("LOINC//2823-3", "lab.potassium"),
        ("GENDER//F", "demographic.female"),
        ("MEDS_BIRTH", "demographic.age"),
        ("UNIT//CSRU", "care.unit_cardiac_surgery"),
        ("UNIT//Med-Surg ICU", "care.unit_medical_surgical"),
        ("VISIT//icu", "care.icu_stay"),
        ("CARE//Route-Status|NPO", "care.nothing_by_mouth"),
        ("CARE//Route-Status|Enteral - at goal", "care.enteral_feeding"),
        ("CARE//Route-Status|TPN - at goal", "care.parenteral_nutrition"),
        ("DRUG//TPN", "care.parenteral_nutrition"),
        ("CARE//Airway|Intubated/oral ETT", "procedure.mechanical_ventilation"),
        ("PROCEDURE//renal|dialysis|C V V H", "procedure.dialysis"),
        ("CONDITION//endocrine|glucose metabolism|DKA", "comorbidity.diabetic_ketoacidosis"),
    ],
)
def test_codes(catalogue: Catalogue, code: str, concept: str) -> None:
    assert concept in matches(catalogue, code)


@pytest.mark.parametrize(
    ("code", "concept"),
    [
        # A code is not a prefix of its own parent, nor of a neighbour.
        ("ICD10CM//E1", "comorbidity.diabetes"),
        ("LOINC//2823", "lab.potassium"),
        ("LOINC//12823-3", "lab.potassium"),
        ("ICD9CM//276.9", "comorbidity.hypokalaemia"),
        ("ICD10CM//N25.81", "comorbidity.renal_tubular_disorder"),
        ("CARE//Airway|Not intubated/normal airway", "procedure.mechanical_ventilation"),
        ("CONDITION//burns/trauma|trauma - chest|chest wall trauma", "comorbidity.burns"),
        (
            "CONDITION//pulmonary|disorders of vasculature|pulmonary hypertension",
            "comorbidity.hypertension",
        ),
        (
            "CONDITION//Non-Insulin Dependent Diabetes/medication dependent",
            "comorbidity.insulin_treated_diabetes",
        ),
        ("CONDITION//hypomagnesemia|due to Etoh abuse", "comorbidity.alcohol_use"),
        ("LAB//WBC's in urine", "lab.white_cells"),
        ("LAB//urinary sodium", "lab.sodium"),
        ("LAB//glucose - CSF", "lab.glucose"),
        ("LAB//protein - CSF", "lab.total_protein"),
        ("DRUG//potassium", "lab.potassium"),
    ],
)
def test_what_must_not_match(catalogue: Catalogue, code: str, concept: str) -> None:
    assert concept not in matches(catalogue, code)


def test_a_combination_of_reveal_and_feature_is_never_made(catalogue: Catalogue) -> None:
    for text in (
        "hypomagnesemia",
        "renal|electrolyte imbalance|hypomagnesemia|due to drugs",
        "endocrine|fluids and electrolytes|hypomagnesemia|due to Etoh abuse",
    ):
        for name in matches(catalogue, f"CONDITION//{text}"):
            assert not catalogue.by_name[name].features, (text, name)


def test_names_ignore_capitals_punctuation_and_word_glue() -> None:
    assert words("SODium PHOSphate 15MMOL/100ML") == (
        "sodium",
        "phosphate",
        "15",
        "mmol",
        "100",
        "ml",
    )
    assert normal_name("  O2  Sat (%) ") == normal_name("o2 sat %")
    assert normal_name("neutrophils %") != normal_name("neutrophils #")


def test_a_new_catalogue_is_not_answered_from_an_old_one() -> None:
    def one(word: str) -> Catalogue:
        concept = Concept(label="x", kind="exposure", names=(word,))
        return Catalogue(domains=(DomainFile(domain="medication", concepts={"x": concept}),))

    first, second = one("aspirin"), one("warfarin")
    assert matches(first, "DRUG//aspirin") == ("medication.x",)
    assert matches(second, "DRUG//aspirin") == ()
    assert matches(second, "DRUG//WARFARIN 5 mg") == ("medication.x",)


@given(
    before=st.text(string.ascii_lowercase, min_size=1, max_size=6),
    after=st.text(string.ascii_lowercase, min_size=1, max_size=6),
)
def test_only_whole_words_count(before: str, after: str) -> None:
    concept = Concept(label="x", kind="exposure", names=("zinc oxide",))
    catalogue = Catalogue(domains=(DomainFile(domain="medication", concepts={"x": concept}),))
    assert matches(catalogue, f"DRUG//{before} zinc oxide-{after}") == ("medication.x",)
    assert matches(catalogue, f"DRUG//{before}zinc oxide") == ()
    assert matches(catalogue, f"DRUG//zinc oxide{after}") == ()
    assert matches(catalogue, f"DRUG//zinc {after}oxide") == ()


@pytest.mark.data
def test_every_parameter_of_physionet_2012_has_a_concept(
    catalogue: Catalogue, shared_data: Path
) -> None:
    import duckdb

    table = shared_data / "physionet2012" / "events.parquet"
    found = duckdb.connect().execute(f"SELECT DISTINCT param FROM '{table}'").fetchall()
    # Age, Gender, ICUType and RecordID are not measurements: they are birth, gender, unit and id.
    names = {row[0] for row in found} - {"Age", "Gender", "ICUType", "RecordID"}
    assert len(names) == 38
    for name in names:
        both = (*matches(catalogue, f"LAB//{name}"), *matches(catalogue, f"VITAL//{name}"))
        assert both, name


@pytest.mark.data
def test_nine_of_ten_laboratory_rows_of_eicu_have_a_concept(
    catalogue: Catalogue, shared_data: Path
) -> None:
    import duckdb

    table = shared_data / "eicu_demo" / "raw_lab_subset" / "lab.csv.gz"
    found = (
        duckdb.connect()
        .execute(f"SELECT labname, count(*) FROM read_csv_auto('{table}') GROUP BY 1")
        .fetchall()
    )
    mapped = sum(n for name, n in found if matches(catalogue, f"LAB//{name}"))
    assert mapped / sum(n for _, n in found) >= 0.9


@pytest.mark.data
def test_no_code_of_eicu_is_both_revealing_and_a_feature(
    catalogue: Catalogue, shared_data: Path
) -> None:
    import duckdb

    connection = duckdb.connect()
    folder = shared_data / "eicu_demo"
    codes: list[str] = []
    for vocabulary, table, column in (
        ("DRUG", "medication", "drugname"),
        ("DRUG", "infusiondrug", "drugname"),
        ("DRUG", "admissiondrug", "drugname"),
        ("CONDITION", "diagnosis", "diagnosisstring"),
        ("PROCEDURE", "treatment", "treatmentstring"),
        ("CARE", "intakeoutput", "celllabel"),
    ):
        rows = connection.execute(
            f"SELECT DISTINCT {column} FROM '{folder / table}.parquet' WHERE {column} IS NOT NULL"
        ).fetchall()
        codes += [f"{vocabulary}//{row[0]}" for row in rows]
    revealing = 0
    for code in codes:
        found = [catalogue.by_name[name] for name in matches(catalogue, code)]
        if any(concept.reveals for concept in found):
            revealing += 1
            assert all(concept.reveals or not concept.features for concept in found), code
    assert revealing > 20
