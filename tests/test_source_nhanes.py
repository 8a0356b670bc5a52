"""NHANES: recalls, drugs by ingredient, usual drinking, and the design of the survey."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from magml.definitions import read_catalogue
from magml.errors import InputError
from magml.features.names import matches
from magml.sources import open_source
from magml.sources.nhanes import design
from magml.sources.nhanes_alcohol import usual_drinks
from magml.sources.tables import source_table
from magml.workspace.start import find_layout
from tests.xport import write_xport

EXAMINED = dt.datetime(2004, 1, 1, 9)


def survey(folder: Path, letter: str = "C", first: int = 1) -> Path:
    """Write a cycle of three people, the third of them interviewed only."""
    people = [first, first + 1, first + 2]
    write_xport(
        folder / f"DEMO_{letter}.xpt.gz",
        {
            "SEQN": people,
            "RIDSTATR": [2, 2, 1],
            "RIAGENDR": [1, 2, 2],
            "RIDAGEYR": [40, 60, 0],
            "SDMVSTRA": [30, 30, 30],
            "SDMVPSU": [1, 2, 2],
            "WTMEC2YR": [10, 20, 0],
            "WTINT2YR": [9, 18, 27],
        },
    )
    write_xport(
        folder / f"dr1tot_{letter.lower()}.xpt",
        {
            "SEQN": people[:2],
            "WTDRD1": [100, None],
            "DR1DRSTZ": [1, 2],
            "DR1TMAGN": [310.5, 200],
            "DR1TKCAL": [2100, 1800],
            "DR1TALCO": [0, 14],
        },
    )
    write_xport(folder / f"L40_{letter}.XPT", {"SEQN": people[:2], "LBXSCR": [0.9, None]})
    write_xport(
        folder / f"RXQ_RX_{letter}.xpt",
        {
            "SEQN": [people[0], people[0], people[1], people[1]],
            "RXDDRUG": ["HYDROCHLOROTHIAZIDE; LISINOPRIL", "99999", "OMEPRAZOLE", ""],
            "RXDDAYS": [365, None, 99999, None],
        },
    )
    write_xport(
        folder / f"ALQ_{letter}.xpt",
        {"SEQN": people[:1], "ALQ120Q": [2], "ALQ120U": [2], "ALQ130": [5]},
    )
    return folder


def test_events_by_hand(tmp_path: Path) -> None:
    events = open_source("nhanes", survey(tmp_path))
    found = events.connection.execute(
        f"SELECT subject_id, code, time, known_time, numeric_value, unit FROM {events.relation} "
        "WHERE subject_id < 3 AND code <> 'MEDS_BIRTH' ORDER BY 1, 2"
    ).fetchall()
    day, later = dt.datetime(2003, 12, 31), EXAMINED + dt.timedelta(hours=1)
    year_ago = EXAMINED - dt.timedelta(days=365)
    expected = [
        (1, "DIET//alcohol", day, EXAMINED, 0.0, "g/d"),
        # 2 days a month, 5 drinks each: 120 a year of 365.25 days.
        (1, "DIET//alcohol_usual", EXAMINED, EXAMINED, pytest.approx(120 / 365.25), "drinks/d"),
        (1, "DIET//energy", day, EXAMINED, 2100.0, "kcal/d"),
        (1, "DIET//magnesium", day, EXAMINED, 310.5, "mg/d"),
        (1, "DRUG//HYDROCHLOROTHIAZIDE", year_ago, EXAMINED, None, None),
        (1, "DRUG//LISINOPRIL", year_ago, EXAMINED, None, None),
        (1, "GENDER//M", None, None, None, None),
        (1, "LOINC//2160-0", EXAMINED, later, pytest.approx(0.9), "mg/dL"),
        (1, "VISIT//outpatient", EXAMINED, EXAMINED, None, None),
        # An unreliable recall and a missing creatinine make no event.
        (2, "DRUG//OMEPRAZOLE", EXAMINED, EXAMINED, None, None),
        (2, "GENDER//F", None, None, None, None),
        (2, "VISIT//outpatient", EXAMINED, EXAMINED, None, None),
    ]
    assert found == expected
    third = events.connection.execute(
        f"SELECT code, time FROM {events.relation} WHERE subject_id = 3 ORDER BY 1"
    ).fetchall()
    assert third == [("GENDER//F", None), ("MEDS_BIRTH", EXAMINED)]
    assert find_layout(tmp_path) == "nhanes"


def test_design_shares_the_weight_among_cycles(tmp_path: Path) -> None:
    survey(tmp_path)
    survey(tmp_path, "L", 11)
    table = design(tmp_path)
    assert table["subject_id"].tolist() == [1, 2, 3, 11, 12, 13]
    assert table["weight"].tolist() == [50, 0, 0, 50, 0, 0]
    assert table["cycle"].tolist() == ["C"] * 3 + ["L"] * 3
    assert table[["stratum", "psu"]].to_numpy().tolist()[:3] == [[30, 1], [30, 2], [30, 2]]
    assert design(tmp_path, "interview", cycles=["L"])["weight"].tolist() == [9, 18, 27]
    latest = open_source("nhanes", tmp_path, cycles=["L"])
    assert latest.connection.execute(
        f"SELECT DISTINCT subject_id, year(time) FROM {latest.relation} WHERE code LIKE 'LOINC%'"
    ).fetchall() == [(11, 2022)]


def test_a_second_day_supplements_and_race(tmp_path: Path) -> None:
    folder = survey(tmp_path)
    write_xport(
        folder / "DR2TOT_C.xpt",
        {"SEQN": [1, 2], "DR2DRSTZ": [1, 5], "DR2TMAGN": [250, 200], "DR2TCALC": [800, 900]},
    )
    write_xport(folder / "DSQTOT_C.xpt", {"SEQN": [1, 2], "DSQTMAGN": [100, None]})
    write_xport(
        folder / "DEMO_C.xpt.gz",
        {"SEQN": [1], "RIDSTATR": [2], "RIAGENDR": [1], "RIDAGEYR": [40], "RIDRETH1": [4]},
    )
    events = open_source("nhanes", folder)
    found = events.connection.execute(
        f"SELECT code, numeric_value, time, known_time FROM {events.relation} WHERE subject_id = 1 "
        "AND (time > TIMESTAMP '2004-01-01 12:00' OR code LIKE 'RACE%' OR code LIKE '%supplement')"
        " ORDER BY code"
    ).fetchall()
    day, known = dt.datetime(2004, 1, 6), dt.datetime(2004, 1, 7, 9)
    assert found == [
        ("DIET//calcium", 800, day, known),
        ("DIET//magnesium", 250, day, known),
        ("DIET//magnesium_supplement", 100, EXAMINED, EXAMINED),
        ("RACE//Black", None, None, None),
    ]


def test_creatinine_is_brought_to_the_standard(tmp_path: Path) -> None:
    for letter, first in (("C", 1), ("D", 11)):
        survey(tmp_path, letter, first)
    demo = {"SEQN": [21], "RIDSTATR": [2], "RIAGENDR": [1], "RIDAGEYR": [40]}
    write_xport(tmp_path / "DEMO.xpt", demo)
    write_xport(tmp_path / "LAB18.xpt", {"SEQN": [21], "LBXSCR": [1.0]})
    events = open_source("nhanes", tmp_path)
    found = events.connection.execute(
        f"SELECT subject_id, numeric_value FROM {events.relation} WHERE code = 'LOINC//2160-0' "
        "ORDER BY 1"
    ).fetchall()
    # 2003-04 as it is; 2005-06: 0.978 x 0.9 - 0.016; 1999-2000: 1.013 + 0.147.
    assert found == [
        (1, pytest.approx(0.9)),
        (11, pytest.approx(0.8642)),
        (21, pytest.approx(1.16)),
    ]


def test_the_combined_files_before_the_pandemic(tmp_path: Path) -> None:
    survey(tmp_path, "J")
    demo = {
        "SEQN": [1, 50], "RIDSTATR": [2, 2], "RIAGENDR": [1, 2], "RIDAGEYR": [40, 30],
        "SDMVSTRA": [1, 1], "SDMVPSU": [1, 2], "WTMECPRP": [32, 64],
    }  # fmt: skip
    write_xport(tmp_path / "P_DEMO.xpt", demo)
    # They hold J again: without a word J is read, and both together are refused.
    assert design(tmp_path, "examination")["cycle"].unique().tolist() == ["J"]
    with pytest.raises(InputError, match="the cycles J and P"):
        open_source("nhanes", tmp_path, cycles=["J", "P"])
    survey(tmp_path, "C", 101)
    table = design(tmp_path, "examination", ["C", "P"])
    # 2 years of 5.2 and 3.2 of 5.2.
    share = table.set_index("subject_id")["weight"]
    assert share[101] == pytest.approx(10 * 2 / 5.2)
    assert share[50] == pytest.approx(64 * 3.2 / 5.2)


def test_usual_drinks_of_both_questionnaires() -> None:
    older = pd.DataFrame(
        {
            "ALQ101": [1, 2, 2, 1, 1, 1],
            "ALQ110": [np.nan, 2, 1, np.nan, np.nan, np.nan],
            "ALQ120Q": [7, np.nan, 3, 0, 777, 2],
            "ALQ120U": [1, np.nan, 3, np.nan, np.nan, 1],
            "ALQ130": [2, np.nan, 4, np.nan, 3, 99],
        }
    )
    # Daily 2; never; 3 days a year of 4; none this year; refused; number not known.
    expected = [2, 0, 12 / 365.25, 0, np.nan, np.nan]
    assert usual_drinks(older) == pytest.approx(expected, nan_ok=True, rel=1e-3)
    newer = pd.DataFrame(
        {"ALQ111": [1, 2, 1, 1], "ALQ121": [1, np.nan, 0, 5], "ALQ130": [3, np.nan, np.nan, 7]}
    )
    assert usual_drinks(newer) == pytest.approx([3, 0, 0, 1], rel=1e-3)


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no DEMO file"):
        open_source("nhanes", tmp_path)
    survey(tmp_path)
    with pytest.raises(InputError, match=r"no demographics of cycle J.*found: C"):
        open_source("nhanes", tmp_path, cycles=["J"])
    with pytest.raises(InputError, match="not a list of letters"):
        open_source("nhanes", tmp_path, cycles=3)
    with pytest.raises(InputError, match="did you mean 'diet'"):
        design(tmp_path, "dite")  # type: ignore[arg-type]
    write_xport(tmp_path / "RXQ_RX_C.xpt", {"SEQN": [1], "RXDDAYS": [3]})
    with pytest.raises(InputError, match="no variable RXDDRUG"):
        open_source("nhanes", tmp_path)
    (tmp_path / "RXQ_RX_C.xpt").write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=r"RXQ_RX_C\.xpt cannot be read"):
        open_source("nhanes", tmp_path)
    drug = {"SEQN": [1, 2], "RXDDRUG": ["OMEPRAZOLE", ""], "RXDDAYS": [1e21, 1]}
    write_xport(tmp_path / "RXQ_RX_C.xpt", drug)
    with pytest.raises(InputError, match="1 values of RXDDAYS are not between 0 and 100000"):
        open_source("nhanes", tmp_path)
    survey(tmp_path)
    demo = {"SEQN": [1, 2], "RIDSTATR": [2, 2], "RIAGENDR": [1, 2], "RIDAGEYR": [-1, 1e12]}
    write_xport(tmp_path / "DEMO_C.xpt.gz", demo)
    with pytest.raises(InputError, match="2 values of RIDAGEYR"):
        open_source("nhanes", tmp_path)


def test_the_catalogue_knows_every_code() -> None:
    catalogue, tables = read_catalogue(), source_table("nhanes")
    for table in ("chemistry", "crp", "crp_sensitive"):
        for code, _ in tables[table].values():
            assert matches(catalogue, code), code
    assert matches(catalogue, "DRUG//HYDROCHLOROTHIAZIDE") == ("medication.thiazide",)


@pytest.mark.data
def test_the_public_files(shared_data: Path) -> None:
    folder = shared_data / "nhanes"
    events = open_source("nhanes", folder, cycles=["C", "J"])
    demo, diet = (
        pd.read_sas(folder / f"{name}_J.xpt.gz", format="xport", compression="gzip")
        for name in ("DEMO", "DR1TOT")
    )
    ids = f"BETWEEN {int(demo['SEQN'].min())} AND {int(demo['SEQN'].max())}"
    count, total = events.connection.execute(
        f"SELECT count(*), sum(numeric_value) FROM {events.relation} "
        f"WHERE code = 'DIET//magnesium' AND subject_id {ids}"
    ).fetchall()[0]
    reliable = diet.loc[diet["DR1DRSTZ"] == 1, "DR1TMAGN"]
    assert (count, total) == (reliable.notna().sum(), pytest.approx(reliable.sum()))
    assert events.connection.execute(
        f"SELECT count(*) FROM {events.relation} WHERE regexp_matches(code, '^DRUG//[0-9]{{5}}$') "
        "OR (code LIKE 'DRUG//%' AND code LIKE '%;%')"
    ).fetchall() == [(0,)]
    table = design(folder)
    assert table["subject_id"].is_unique
    assert (table.groupby("stratum")["psu"].nunique() >= 2).all()
    # The civilian population of the United States was near 300 million.
    assert 2.7e8 < table["weight"].sum() < 3.3e8
