"""The check of data: planted faults, each found with a count derived by hand."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

import magml
from magml.checks import CheckReport, check
from magml.checks.codes import resembling
from magml.checks.features import features_of
from magml.checks.report import Finding
from magml.definitions import read_catalogue
from magml.errors import InputError

NOW = dt.datetime(2026, 1, 1)
MAGNESIUM = "LOINC//19123-9"


def row(subject: int, time: str | None, code: str, **more: object) -> dict[str, object]:
    """A row; `known` is a delay in hours, or a time."""
    known = more.pop("known", 1)
    moment = None if time is None else pd.Timestamp(time)
    if isinstance(known, int) and moment is not None:
        known = moment + pd.Timedelta(hours=known)
    return {
        "subject_id": subject,
        "time": moment,
        "known_time": None if known is None or isinstance(known, int) else pd.Timestamp(known),
        "end_time": None,
        "code": code,
        "numeric_value": None,
        "unit": None,
        "text_value": None,
        "visit_id": None,
        **more,
    }


def clean(people: int = 40) -> list[dict[str, object]]:
    """People with nothing wrong: birth, sex, site, a stay, two magnesium values."""
    rows = []
    for person in range(1, people + 1):
        site = "SITE//A" if person % 2 else "SITE//B"
        rows += [
            row(person, f"19{40 + person % 30}-05-04", "MEDS_BIRTH", known=None),
            row(person, None, "GENDER//F" if person % 2 else "GENDER//M"),
            row(person, f"2020-03-01 07:{person % 60:02d}", site),
            row(
                person,
                f"2020-03-01 07:{person % 60:02d}",
                "VISIT//inpatient",
                end_time=pd.Timestamp("2020-03-09 11:11"),
                visit_id=f"v{person}",
            ),
        ]
        for hour, value in (("09", 1.7), ("21", 1.9 + person % 5 / 10)):
            rows.append(
                row(
                    person,
                    f"2020-03-01 {hour}:{person % 60:02d}:30",
                    MAGNESIUM,
                    numeric_value=value,
                    unit="mg/dL",
                )
            )
    return rows


def checked(rows: list[dict[str, object]]) -> CheckReport:
    table = pd.DataFrame(rows)
    for column in ("time", "known_time", "end_time"):
        table[column] = pd.to_datetime(table[column])
    return check(table, now=NOW)


def only(report: CheckReport, kind: str) -> int:
    """The count of the one finding of a kind; 0 where there is none."""
    found = report.of_kind(kind)
    assert len(found) <= 1
    return found[0].count if found else 0


def test_clean_data_have_no_error_and_no_fault() -> None:
    report = checked(clean())
    assert (report.rows, report.people, report.codes) == (240, 40, 7)
    assert (report.first, report.last) == ("1940-05-04T00:00:00", "2020-03-01T21:40:30")
    assert report.count("error") == 0
    # Nothing but magnesium in mg/dL is there; what is empty and converted is all there is to say.
    assert {finding.kind for finding in report.findings} == {
        "domain_empty",
        "concept_absent",
        "unit_converted",
    }


def test_impossible_dates() -> None:
    lab = {"numeric_value": 1.9, "unit": "mg/dL"}
    report = checked(
        [
            *clean(),
            row(1, "1939-01-01 10:30", MAGNESIUM, **lab),  # born in 1941
            row(2, "1899-12-31 23:59", MAGNESIUM, **lab),  # before 1900, and before birth
            row(3, "2028-01-01 10:30", MAGNESIUM, **lab),  # more than a year after NOW
            row(4, "2026-11-30 10:30", MAGNESIUM, **lab),  # within a year: a plan
            row(5, "2020-03-05 12:00", "MEDS_DEATH"),
            row(5, "2020-03-05 23:30", MAGNESIUM, **lab),  # the day of death
            row(5, "2020-03-06 00:01", MAGNESIUM, **lab),  # the day after
            row(99, "1890-05-04", "MEDS_BIRTH", known=None),
            row(99, "2020-03-01 10:30", MAGNESIUM, **lab),  # 129 years old
            row(6, "2020-03-04 10:30", "DRUG//omeprazole", end_time=pd.Timestamp("2020-03-03")),
        ]
    )
    assert only(report, "before_birth") == 2
    assert only(report, "before_1900") == 1
    assert only(report, "far_future") == 1
    assert only(report, "after_death") == 1
    assert only(report, "too_old") == 1
    assert only(report, "ended_early") == 1
    assert not report.of_kind("shifted_dates")


def test_shifted_dates_are_told_from_future_ones() -> None:
    rows = clean()
    for item in rows:
        for column in ("time", "known_time", "end_time"):
            if item[column] is not None:
                item[column] += pd.DateOffset(years=130)
    rows.append(row(1, "2300-01-01 10:30", MAGNESIUM, numeric_value=1.9, unit="mg/dL"))
    report = checked(rows)
    # 240 + 1 rows without the 40 of sex, which have no time; births lie in 2070 to 2099.
    assert only(report, "shifted_dates") == 201
    assert only(report, "far_future") == 1


def test_duplicates_and_conflicts() -> None:
    rows = clean()
    rows += [dict(rows[4]), dict(rows[4]), dict(rows[10])]  # three rows that stand already
    changed = dict(rows[16], numeric_value=9.9)
    rows.append(changed)
    report = checked(rows)
    assert only(report, "duplicate") == 3
    assert report.of_kind("duplicate")[0].items[0].name == MAGNESIUM
    assert only(report, "conflicting") == 1


def test_known_time_faults() -> None:
    lab = {"numeric_value": 1.9, "unit": "mg/dL"}
    report = checked(
        [
            *clean(),
            row(1, "2020-03-02 10:30", MAGNESIUM, known=-1, **lab),
            row(2, "2020-03-02 10:30", MAGNESIUM, known=-1, **lab),
            row(3, "2020-03-02 10:30", "DRUG//furosemide", known=-2),  # ordered ahead: allowed
            row(4, "2020-03-02 10:30", "ATC//C03CA01", known=-2),
            row(5, "2020-03-02 10:30", "ICD10CM//E11.9", known="2099-01-01"),  # never
            row(6, "2020-03-02 10:30", "VITAL//HR", known=None, numeric_value=70, unit="/min"),
        ]
    )
    assert only(report, "known_early") == 2
    assert only(report, "orders_ahead") == 2
    assert only(report, "known_never") == 1
    assert only(report, "known_missing") == 1
    assert not report.of_kind("results_at_once")


def test_results_and_diagnoses_without_a_rule() -> None:
    rows = clean()
    for item in rows:
        if item["code"] == MAGNESIUM:
            item["known_time"] = item["time"]
    for person in range(1, 41):
        stay = f"2020-03-01 07:{person % 60:02d}"
        rows.append(row(person, stay, "ICD10CM//E11.9", known=0, visit_id=f"v{person}"))
    report = checked(rows)
    assert only(report, "results_at_once") == 80
    assert only(report, "diagnoses_at_once") == 40
    billed = report.of_kind("diagnoses_at_visit_start")[0]
    assert (billed.count, billed.of, billed.severity) == (40, 40, "warning")
    for item in rows:
        if item["code"] == "ICD10CM//E11.9":
            item["known_time"] = pd.Timestamp("2020-03-09 11:11")  # the end of the stay
    billed = checked(rows).of_kind("diagnoses_at_visit_start")[0]
    assert (billed.count, billed.severity) == (40, "info")


def test_midnight_and_whole_hours() -> None:
    rows = clean()
    for item in rows:
        if item["code"] == MAGNESIUM:
            item["time"] = item["time"].normalize()
    report = checked(rows)
    midnight = report.of_kind("midnight")[0]
    # 80 values at midnight, of 160 rows that have a time and are no birth.
    assert (midnight.count, midnight.of, midnight.severity) == (80, 160, "warning")
    assert [(item.name, item.count) for item in midnight.items] == [("LOINC", 80)]
    rows = clean()
    for item in rows:
        if item["code"] == MAGNESIUM:
            item["time"] = item["time"].floor("h")
    report = checked(rows)
    assert only(report, "midnight") == 0
    assert only(report, "whole_hours") == 80


def test_units_missing_unknown_mixed_refused_and_implausible() -> None:
    rows = clean()
    for person in range(1, 41):
        stamp = f"2020-03-03 10:{person % 60:02d}"
        potassium = 3.5 + person % 10 / 10
        rows += [
            # Declared mmol/L, with values of mg/dL: refused, as in PhysioNet 2012.
            row(person, stamp, "LOINC//2601-3", numeric_value=1.7 + person % 8 / 10, unit="mmol/L"),
            # No unit, and only one explains 3.5 to 4.4: a potassium in mmol/L.
            row(person, stamp, "LOINC//2823-3", numeric_value=potassium),
            row(person, stamp, "LOINC//2951-2", numeric_value=135 + person % 8, unit="furlong"),
        ]
    rows.append(row(1, "2020-03-04 10:30", MAGNESIUM, numeric_value=37.5, unit="mg/dL"))
    rows.append(row(2, "2020-03-04 10:30", MAGNESIUM, numeric_value=0.80, unit="mmol/L"))
    report = checked(rows)
    refused = report.of_kind("unit_refused")[0]
    assert refused.count == 40
    assert refused.concepts == ("lab.magnesium",)
    assert "lab.magnesium.last" in refused.features
    assert "mg/dL" in refused.items[0].note
    unknown = report.of_kind("unit_unknown")[0]
    assert (unknown.count, unknown.concepts) == (40, ("lab.sodium",))
    inferred = report.of_kind("unit_inferred")[0]
    assert (inferred.count, inferred.concepts) == (40, ("lab.potassium",))
    mixed = report.of_kind("unit_mixed")[0]
    # Magnesium: 81 values in mg/dL, 41 in mmol/L; everybody has both, at both sites.
    assert mixed.count == 41
    assert mixed.items[0].note == "mg/dL 81, mmol/L 41; several at once at site A, B"
    # 37.5 mg/dL is 15 mmol/L; the plausible range ends at 6.
    assert only(report, "value_implausible") == 1


def test_a_wrong_unit_at_one_site_is_named() -> None:
    rows = clean(200)
    for item in rows:
        person = item["subject_id"]
        if item["code"] == MAGNESIUM and person % 2 == 0:  # site B writes mmol/L, declares mg/dL
            item["numeric_value"] = round(item["numeric_value"] / 2.4305, 2)
    report = checked(rows)
    lines = [x for x in report.units if x.site == "B" and x.status == "refused"]
    assert [(x.code, x.unit, x.values) for x in lines] == [(MAGNESIUM, "mg/dL", 200)]
    assert "mmol/L" in lines[0].fitting


def test_a_site_that_mixes_units_is_named() -> None:
    rows = clean(80)
    for item in rows:
        person = item["subject_id"]
        if item["code"] == MAGNESIUM and person % 4 == 0:  # half of the people of site B
            item["numeric_value"] = round(item["numeric_value"] / 2.4305, 2)
            item["unit"] = "mmol/l"
    report = checked(rows)
    assert report.count("error") == 0
    mixed = report.of_kind("unit_mixed")[0]
    assert mixed.items[0].note == "mg/dL 120, mmol/L 40; several at once at site B"


def test_codes_without_a_concept_and_what_they_resemble() -> None:
    rows = clean()
    for person in range(1, 31):
        rows.append(row(person, "2020-03-02 10:31", "Lab//Potassium", numeric_value=4, unit="x"))
    for person in range(1, 21):
        rows.append(row(person, "2020-03-02 10:31", "DRUG//furosemid-ratiopharm"))
    rows.append(row(1, "2020-03-02 10:31", "XYZ//nothing of the kind"))
    report = checked(rows)
    assert [(code.code, code.rows, code.resembles) for code in report.unmapped] == [
        ("Lab//Potassium", 30, ("lab.potassium",)),
        ("DRUG//furosemid-ratiopharm", 20, ("medication.loop_diuretic",)),
        ("XYZ//nothing of the kind", 1, ()),
    ]
    assert only(report, "code_unmapped") == 51
    similar = report.of_kind("code_resembles")[0]
    assert (similar.count, similar.severity) == (50, "warning")
    assert set(similar.concepts) == {"lab.potassium", "medication.loop_diuretic"}
    assert "lab.potassium.last" in similar.features


@pytest.mark.parametrize(
    ("code", "concepts"),
    [
        ("ICD10//E11.9", ("comorbidity.diabetes",)),
        ("CONDITION//4019", ("comorbidity.hypertension",)),
        ("potassium", ("lab.potassium",)),
        ("VITAL//potassium", ("lab.potassium",)),
        ("DRUG//iron", ()),  # a laboratory's iron is no drug
        ("CONDITION//SR (Sinus Rhythm)", ()),  # not a code of chapter S
        ("LOINC//99999-9", ()),
    ],
)
def test_resemblance(code: str, concepts: tuple[str, ...]) -> None:
    assert resembling(read_catalogue(), code)[0] == concepts


def test_people_whose_facts_are_missing_or_contradict() -> None:
    rows = [item for item in clean() if not (item["subject_id"] == 7 and item["time"] is not None)]
    rows.append(row(8, "1950-01-01", "MEDS_BIRTH", known=None))
    rows.append(row(9, None, "GENDER//M"))
    report = checked(rows)
    assert only(report, "no_birth") == 1
    assert only(report, "several_births") == 1
    assert only(report, "several_sexes") == 1


def test_without_magnesium_there_is_no_outcome() -> None:
    report = checked([item for item in clean() if item["code"] != MAGNESIUM])
    finding = report.of_kind("no_magnesium")[0]
    assert finding.severity == "error"
    assert "lab.magnesium.last" in finding.features
    assert {x.concepts[0].split(".")[0] for x in report.of_kind("domain_empty")} >= {"lab", "vital"}


def test_a_derived_feature_is_lost_with_its_inputs() -> None:
    catalogue = read_catalogue()
    name, item = next(iter(catalogue.derived.items()))
    concept = catalogue.features[item.input_names[0]].concept
    if concept in catalogue.by_name:
        assert name in features_of(catalogue, [concept])


class Page(HTMLParser):
    """The tags of a page, and whether anything would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_is_self_contained_and_escaped() -> None:
    report = checked([*clean(), row(1, "2020-03-02 10:31", "XYZ//<script>alert(1)</script>")])
    html = report.html()
    page = Page()
    page.feed(html)
    assert "script" not in page.tags
    assert page.fetched == []
    assert "&lt;script&gt;" in html
    assert "@import" not in html
    assert "url(" not in html
    text = report.text()
    assert "241 rows, 40 people, 8 codes" in text
    plain = report.to_dict()
    assert plain["counts"]["error"] == 0
    assert plain["findings"][0]["kind"] == report.findings[0].kind


def test_no_rows_are_refused_and_the_verb_is_public() -> None:
    assert magml.check is check
    with pytest.raises(InputError, match="no row"):
        check(pd.DataFrame(clean()).iloc[:0], now=NOW)


def test_a_check_leaves_the_callers_connection_as_it_was() -> None:
    table = pd.DataFrame(clean())
    events = magml.read_events(table)
    before = events.connection.execute("SHOW TABLES").fetchall()
    check(events, now=NOW)
    assert events.connection.execute("SHOW TABLES").fetchall() == before


def test_counts_are_written_in_singular_and_plural() -> None:
    report = checked(clean())
    one = replace(
        report,
        findings=(
            Finding("a", "error", "one error", 1, 1, "rows", "It costs.", "do it"),
            Finding("b", "info", "one note", 1, 1, "rows", "It costs.", "do it"),
        ),
    )
    assert "1 error, 0 warnings, 1 note" in one.text()
    assert "1 error, 0 warnings, 1 note." in one.html()


def test_domains_that_few_hospitals_record_take_one_line() -> None:
    report = checked(clean())
    seldom = [f for f in report.of_kind("domain_empty") if f.severity == "info"]
    assert len(seldom) == 1
    assert "nothing of diet, genetic and microbiome" in seldom[0].title
    lines = report.text().splitlines()
    at = next(k for k, line in enumerate(lines) if "nothing of diet" in line)
    assert lines[at + 1] == ""
    warned = {f.title for f in report.of_kind("domain_empty") if f.severity == "warning"}
    assert "the domain medication is empty" in warned
    assert not any(word in title for title in warned for word in ("diet", "genetic", "microbiome"))
