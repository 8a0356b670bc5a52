"""OMOP: what each row becomes, and when it was known."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from magml.events import Events
from magml.features import build_features
from magml.sources import open_source

BIG = -(2**62) - 7  # does not survive a float
CONCEPTS = """concept_id,concept_name,vocabulary_id,concept_class_id,concept_code
0,No matching concept,None,Undefined,No matching concept
3001420,Magnesium [Mass/volume] in Serum or Plasma,LOINC,Lab Test,19123-9
3027018,Heart rate,LOINC,Clinical Observation,8867-4
8840,milligram per deciliter,UCUM,Unit,mg/dL
201826,Type 2 diabetes mellitus,SNOMED,Clinical Finding,44054006
1567956,Type 2 diabetes mellitus without complications,ICD10CM,5-char billing code,E11.9
317009,Asthma,SNOMED,Clinical Finding,195967001
40163924,pantoprazole 40 MG Delayed Release Oral Tablet,RxNorm,Clinical Drug,314200
948078,pantoprazole,RxNorm,Ingredient,40790
45542411,Encounter for smoking history,ICD10CM,5-char billing code,Z87.891
2000000017,ETOH,our_chart,Chart item,225106
2000000018,Magnesium (Stat Lab),our_lab,Lab item,50960
"""
PERSON = f"""person_id,gender_concept_id,year_of_birth,month_of_birth,day_of_birth,birth_datetime,\
race_concept_id,person_source_value,gender_source_value,race_source_value,care_site_id
{BIG},8532,1950,3,9,,0,MRN-1 ,F,WHITE  ,
2,0,1960,,,,8516,,Male,,7
"""
VISITS = f"""visit_occurrence_id,person_id,visit_concept_id,visit_start_date,visit_start_datetime,\
visit_end_date,visit_end_datetime,care_site_id
-10,{BIG},9201,2020-03-01,2020-03-01 10:15:00,2020-03-05,2020-03-05 14:30:00,
11,{BIG},9202,2019-06-01,,2019-06-01,,
12,2,9201,2020-05-01,2020-05-01 09:00:00,,,
"""


def known(folder: Path, **options: object) -> list[tuple]:
    return rows(open_source("omop", folder, **options))


def rows(events: Events, where: str = "true") -> list[tuple]:
    """Return subject, code, time, known, end, value, unit, text of the events, in order."""
    return in_order(
        events.connection.execute(
            "SELECT subject_id, code, time, known_time, end_time, numeric_value, unit, text_value "
            f"FROM {events.relation} WHERE {where}"
        ).fetchall()
    )


def in_order(events: list[tuple]) -> list[tuple]:
    return sorted(events, key=str)


def at(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)


def row(code: str, time: str, known: str, end: str | None = None, *more: object) -> tuple:
    value, unit, text = (*more, None, None, None)[:3]
    return (BIG, code, at(time), at(known), at(end), value, unit, text)


@pytest.fixture
def cdm(tmp_path: Path) -> Path:
    folder = tmp_path / "cdm"
    folder.mkdir()
    (folder / "2b_concept.csv").write_text(CONCEPTS)
    (folder / "PERSON.csv").write_text(PERSON)
    (folder / "visit_occurrence.csv").write_text(VISITS)
    return folder


def of(folder: Path, table: str, content: str, where: str, **options: object) -> list[tuple]:
    (folder / f"{table}.csv").write_text(content)
    return rows(open_source("omop", folder, **options), where)


def test_persons_visits_and_the_subject_map(cdm: Path) -> None:
    (cdm / "care_site.csv").write_text("care_site_id,care_site_name\n7,St. Mary\n")
    (cdm / "death.csv").write_text("person_id,death_date\n2,2021-02-03\n")
    (cdm / "observation_period.csv").write_text(
        "observation_period_id,person_id,observation_period_start_date,"
        f"observation_period_end_date\n1,{BIG},2019-06-01,2020-03-05\n"
    )
    events = open_source("omop", cdm)
    nothing = (None, None, None)
    assert rows(events) == in_order(
        [
            (BIG, "GENDER//F", None, None, None, *nothing),
            (BIG, "RACE//WHITE", None, None, None, *nothing),
            (BIG, "MEDS_BIRTH", at("1950-03-09"), None, None, *nothing),
            # A date without clock time is known, and ends, at the end of its day.
            row("VISIT//outpatient", "2019-06-01", "2019-06-02", "2019-06-02"),
            row("VISIT//inpatient", "2020-03-01 10:15", "2020-03-01 10:15", "2020-03-05 14:30"),
            row("OBSERVATION_PERIOD", "2019-06-01", "2019-06-02", "2020-03-06"),
            (2, "GENDER//M", None, None, None, *nothing),
            (2, "RACE//Black or African American", None, None, None, *nothing),
            # Only the year is known: the middle of it.
            (2, "MEDS_BIRTH", at("1960-07-01"), None, None, *nothing),
            (2, "SITE//St. Mary", None, None, None, *nothing),
            (2, "VISIT//inpatient", at("2020-05-01 09:00"), at("2020-05-01 09:00"), None, *nothing),
            (2, "MEDS_DEATH", at("2021-02-03"), at("2021-02-04"), None, *nothing),
        ]
    )
    mapped = events.connection.execute(f"SELECT * FROM {events.subjects} ORDER BY 1").fetchall()
    assert mapped == [(BIG, "MRN-1"), (2, "2")]


CONDITIONS = (
    "condition_occurrence_id,person_id,condition_concept_id,condition_start_date,"
    "condition_start_datetime,condition_type_concept_id,visit_occurrence_id,"
    "condition_source_value,condition_source_concept_id\n"
)


def test_conditions_have_both_codes_and_are_billed_at_discharge(cdm: Path) -> None:
    start = "2020-03-01,2020-03-01 10:15:00"
    found = of(
        cdm,
        "condition_occurrence",
        CONDITIONS
        + f"1,{BIG},201826,{start},32821,-10,E11.9 ,1567956\n"
        # Without an ICD code the concept's name is looked for, too.
        + f"2,{BIG},317009,{start},32817,-10,,0\n"
        # Of the institution's own vocabulary: named by its concept, not by the item's number.
        + f"3,{BIG},0,{start},32817,-10,225106,2000000017\n"
        + f"4,{BIG},0,{start},32817,-10, chronic   diarrhea  ,\n"
        # A problem list is known when entered; this one before the visit in which it was.
        + f"5,{BIG},317009,2020-02-01,,32840,-10,,\n"
        # The visit of a date ends with its day; no visit; a visit that has not ended.
        + f"6,{BIG},317009,2019-06-01,,,11,,\n"
        + f"7,{BIG},317009,2018-06-01,,,,,\n"
        + "8,2,317009,2020-05-01,2020-05-01 09:00:00,32821,12,,\n",
        "code SIMILAR TO '(SNOMED|ICD10CM|CONDITION)//.*'",
    )
    t, end = "2020-03-01 10:15", "2020-03-05 14:30"
    assert found == in_order(
        [
            row("ICD10CM//E11.9", t, end),
            row("SNOMED//44054006", t, end),
            row("SNOMED//195967001", t, end),
            row("CONDITION//Asthma", t, end),
            row("CONDITION//ETOH", t, end),
            row("CONDITION//chronic   diarrhea", t, end),
            row("SNOMED//195967001", "2020-02-01", "2020-03-01 10:15"),
            row("CONDITION//Asthma", "2020-02-01", "2020-03-01 10:15"),
            row("SNOMED//195967001", "2019-06-01", "2019-06-02"),
            row("CONDITION//Asthma", "2019-06-01", "2019-06-02"),
            row("SNOMED//195967001", "2018-06-01", "2018-06-02"),
            row("CONDITION//Asthma", "2018-06-01", "2018-06-02"),
        ]
    )
    notes = " ".join(open_source("omop", cdm).notes)
    assert "1 conditions of visits without an end were left out" in notes
    assert "1 conditions without a visit" in notes


def test_a_diagnosis_billed_at_discharge_is_unknown_during_the_stay(cdm: Path) -> None:
    (cdm / "condition_occurrence.csv").write_text(
        CONDITIONS + f"1,{BIG},201826,2020-03-01,2020-03-01 10:15:00,32821,-10,E11.9,1567956\n"
    )
    times = ["2020-03-02 10:00:00", "2020-03-05 14:30:00", "2020-03-05 14:30:01"]
    frame = build_features(
        open_source("omop", cdm),
        pd.DataFrame({"subject_id": BIG, "prediction_time": pd.to_datetime(times)}),
        features=["comorbidity.diabetes.present"],
    )
    # During the stay, at the very discharge, and after it. Two codes of one row count once.
    assert frame["comorbidity.diabetes.present"].tolist() == [0, 0, 1]


def test_icd_revisions_are_told_apart_by_form_and_visit(cdm: Path) -> None:
    rows_of = [
        (-10, "78791  "),
        (-10, "V462   "),
        (-10, "E8798  "),
        (11, "I10    "),
        (11, "E8342  "),
        (11, "V499XXA"),
        (11, "not a code"),
    ]
    content = CONDITIONS + "".join(
        f"{i},{BIG},44824628,2019-06-01,2019-06-01 08:00:00,32821,{visit},{value},44824628\n"
        for i, (visit, value) in enumerate(rows_of)
    )
    table = "condition_occurrence"
    found = of(
        cdm,
        table,
        content,
        "code SIMILAR TO '(ICD|CONDITION).*'",
        source_vocabularies={table: "ICD"},
    )
    assert sorted(event[1] for event in found) == [
        "CONDITION//not a code",
        "ICD10CM//E8342",
        "ICD10CM//I10",
        "ICD10CM//V499XXA",
        "ICD9CM//78791",
        "ICD9CM//E8798",
        "ICD9CM//V462",
    ]
    as_given = of(cdm, table, content, "code LIKE 'ICD%'", source_vocabularies={table: "ICD9CM"})
    assert "ICD9CM//I10" in {event[1] for event in as_given}


DRUGS = (
    "drug_exposure_id,person_id,drug_concept_id,drug_exposure_start_date,"
    "drug_exposure_start_datetime,drug_exposure_end_date,drug_exposure_end_datetime,"
    "drug_type_concept_id,visit_occurrence_id,drug_source_value,drug_source_concept_id,"
    "route_source_value\n"
)


def test_drugs_begin_with_their_start_and_end_with_their_last_day(cdm: Path) -> None:
    content = (
        DRUGS
        + f"1,{BIG},40163924,2020-03-01,2020-03-01 12:00:00,2020-03-02,2020-03-02 00:00:00,,-10,"
        + "00008084481,0,PO/NG\n"
        + f"2,{BIG},0,2020-03-01,,2020-03-03,,,,Magnesium oxide 400 MG ,,\n"
        + f"3,{BIG},948078,2020-03-01,2020-03-01 12:00:00,,,,,,,\n"
        + f"4,{BIG},948078,2020-03-05,2020-03-05 12:00:00,2020-03-04,,,,,,\n"
    )
    where = "code SIMILAR TO '(RxNorm|DRUG)//.*'"
    noon = "2020-03-01 12:00"
    name = "DRUG//pantoprazole 40 MG Delayed Release Oral Tablet"
    midnight = ("2020-03-02", None, None, "PO/NG")
    first = [row("RxNorm//314200", noon, noon, *midnight), row(name, noon, noon, *midnight)]
    others = [
        row("DRUG//Magnesium oxide 400 MG", "2020-03-01", "2020-03-02", "2020-03-04"),
        row("RxNorm//40790", noon, noon),
    ]
    assert of(cdm, "drug_exposure", content, where) == in_order([*first, *others])
    # The vocabulary's ancestors tell what a product is made of.
    (cdm / "concept_ancestor.csv").write_text(
        "ancestor_concept_id,descendant_concept_id\n948078,40163924\n40163924,40163924\n"
    )
    assert of(cdm, "drug_exposure", content, where) == in_order(
        [*first, *others, row("RxNorm//40790", noon, noon, *midnight)]
    )


def test_eras_are_read_only_where_there_are_no_exposures(cdm: Path) -> None:
    eras = (
        "drug_era_id,person_id,drug_concept_id,drug_era_start_date,drug_era_end_date\n"
        f"1,{BIG},948078,2020-03-01,2020-03-31\n2,{BIG},999,2020-03-01,2020-03-31\n"
    )
    found = of(cdm, "drug_era", eras, "code LIKE 'RxNorm%'")
    assert found == [row("RxNorm//40790", "2020-03-01", "2020-03-02", "2020-04-01")]
    exposure = f"3,{BIG},948078,2020-03-01,2020-03-01 12:00:00,,,,,,,\n"
    found = of(cdm, "drug_exposure", DRUGS + exposure, "code LIKE 'RxNorm%'")
    assert found == [row("RxNorm//40790", "2020-03-01 12:00", "2020-03-01 12:00")]


MEASUREMENTS = (
    "measurement_id,person_id,measurement_concept_id,measurement_date,measurement_datetime,"
    "measurement_type_concept_id,operator_concept_id,value_as_number,unit_concept_id,"
    "measurement_source_value,measurement_source_concept_id,unit_source_value,"
    "value_source_value,visit_occurrence_id\n"
)


def test_measurements_have_units_and_the_laboratory_its_turnaround(cdm: Path) -> None:
    eight = "2020-03-02,2020-03-02 08:00:00"
    content = (
        MEASUREMENTS
        + f"1,{BIG},3001420,{eight},32856,,1.70,8840,MG,0,mmol/L ,1.7,-10\n"
        + f"2,{BIG},3001420,{eight},32856,4171756,0.3,0,MG,0, mg/dl ,<0.3,-10\n"
        + f"3,{BIG},3027018,{eight},32817,,88,0,HR,0,bpm,88,-10\n"
        + f"4,{BIG},3001420,2020-03-02,2020-03-02 00:00:00,32856,,1.8,8840,MG,0,,,-10\n"
        + f"5,{BIG},0,{eight},32856,,2.1,8840,50960,2000000018,,,-10\n"
        + f"6,{BIG},0,{eight},32856,,,0,K serum  ,0,,haemolysed,-10\n"
        + f"7,{BIG},0,{eight},32836,,36.5,0,Temp,0,Cel,,-10\n"
    )
    where = "code SIMILAR TO '(LOINC|LAB|VITAL)//.*'"
    t, nine = "2020-03-02 08:00", "2020-03-02 09:00"
    clocked = [
        row("LOINC//19123-9", t, nine, None, 1.7, "mg/dL"),
        row("LOINC//19123-9", t, nine, None, 0.3, "mg/dl", "<"),
        row("LOINC//8867-4", t, t, None, 88, "bpm"),
        row("LAB//Magnesium (Stat Lab)", t, nine, None, 2.1, "mg/dL"),
        row("LAB//K serum", t, nine, None, None, None, "haemolysed"),
        row("VITAL//Temp", t, t, None, 36.5, "Cel"),
    ]
    date = row("LOINC//19123-9", "2020-03-02", "2020-03-03", None, 1.8, "mg/dL")
    found = of(cdm, "measurement", content, where)
    assert found == in_order([*clocked, date])
    clock = row("LOINC//19123-9", "2020-03-02", "2020-03-02 00:30", None, 1.8, "mg/dL")
    found = known(cdm, midnight="clock", lab_turnaround="30min")
    assert clock in found
    assert row("LOINC//8867-4", t, t, None, 88, "bpm") in found
    renamed = known(
        cdm,
        names={"LAB//Magnesium (Stat Lab)": "LOINC//19123-9"},
        units={"LOINC//19123-9": "mmol/L"},
    )
    # `units` follows `names`: it speaks of the codes that events have.
    assert row("LOINC//19123-9", t, nine, None, 2.1, "mmol/L") in renamed


def test_charted_is_known_at_once_and_billed_at_the_end(cdm: Path) -> None:
    (cdm / "procedure_occurrence.csv").write_text(
        "procedure_occurrence_id,person_id,procedure_concept_id,procedure_date,"
        "procedure_datetime,procedure_type_concept_id,visit_occurrence_id,"
        "procedure_source_value,procedure_source_concept_id\n"
        f"1,{BIG},0,2020-03-02,2020-03-02 08:00:00,32833,-10,Chest X-Ray,0\n"
        f"2,{BIG},0,2020-03-02,2020-03-02 08:00:00,32821,-10,02HV33Z,0\n"
    )
    found = of(
        cdm,
        "observation",
        "observation_id,person_id,observation_concept_id,observation_date,observation_datetime,"
        "observation_type_concept_id,visit_occurrence_id,observation_source_value,"
        "observation_source_concept_id,value_as_string\n"
        f"1,{BIG},0,2020-03-02,2020-03-02 08:00:00,32817,-10,NPO ,0,since midnight\n"
        f"2,{BIG},0,2020-03-02,2020-03-02 08:00:00,32817,-10,Z87.891,45542411,\n",
        "code SIMILAR TO '(PROCEDURE|CARE|ICD10CM)//.*'",
    )
    t, end = "2020-03-02 08:00", "2020-03-05 14:30"
    assert found == in_order(
        [
            row("PROCEDURE//Chest X-Ray", t, t),
            row("PROCEDURE//02HV33Z", t, end),
            row("CARE//NPO", t, t, None, None, None, "since midnight"),
            # A coded history is a diagnosis, whatever table it stands in.
            row("ICD10CM//Z87.891", t, end),
        ]
    )


def test_units_and_intensive_care_by_concept_or_name(cdm: Path) -> None:
    (cdm / "care_site.csv").write_text(
        "care_site_id,care_site_name\n1,Surgical Intensive Care Unit (SICU)\n2,Neurology\n"
    )
    found = of(
        cdm,
        "visit_detail",
        "visit_detail_id,person_id,visit_detail_concept_id,visit_detail_start_date,"
        "visit_detail_start_datetime,visit_detail_end_date,visit_detail_end_datetime,"
        "care_site_id,visit_occurrence_id\n"
        f"1,{BIG},0,2020-03-01,2020-03-01 11:00:00,2020-03-02,2020-03-02 11:00:00,1,-10\n"
        f"2,{BIG},0,2020-03-02,2020-03-02 11:00:00,2020-03-03,2020-03-03 11:00:00,2,-10\n"
        f"3,{BIG},32037,2020-03-03,2020-03-03 11:00:00,2020-03-04,2020-03-04 11:00:00,,-10\n",
        "code SIMILAR TO '(UNIT|VISIT//icu).*'",
    )
    first, second, third = (f"2020-03-0{day} 11:00" for day in (1, 2, 3))
    assert found == in_order(
        [
            row("UNIT//Surgical Intensive Care Unit (SICU)", first, first),
            row("VISIT//icu", first, first, second),
            row("UNIT//Neurology", second, second),
            row("VISIT//icu", third, third, "2020-03-04 11:00"),
        ]
    )
