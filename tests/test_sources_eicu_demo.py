"""eICU: the demo's tables, counted in pandas."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from magml.events import Events
from magml.sources import open_source


@pytest.fixture(scope="module")
def demo(shared_data: Path) -> Events:
    """The eICU demo as a stored table."""
    return open_source("eicu", shared_data / "eicu_demo").materialise()


@pytest.fixture(scope="module")
def kept(shared_data: Path) -> pd.DataFrame:
    """Stays whose place is known, by another way: a loop over each person's hospitalisations."""
    table = pd.read_parquet(shared_data / "eicu_demo" / "patient.parquet")
    table["years"] = pd.to_numeric(table.age.replace("> 89", "90"))
    hospitalisations = table.drop_duplicates("patienthealthsystemstayid")
    keep: set[int] = set()
    for _, of_year in hospitalisations.groupby(["uniquepid", "hospitaldischargeyear"]):
        known = of_year.dropna(subset="years")
        if known.empty:
            keep.add(of_year.patienthealthsystemstayid.min())
        for _, same in known.groupby("years"):
            keep.add(same.patienthealthsystemstayid.min())
    return table[table.patienthealthsystemstayid.isin(keep)]


@pytest.mark.data
def test_demo_counts_against_pandas(shared_data: Path, demo: Events, kept: pd.DataFrame) -> None:
    stays = set(kept.patientunitstayid)

    def table(name: str) -> pd.DataFrame:
        frame = pd.read_parquet(shared_data / "eicu_demo" / f"{name}.parquet")
        return frame[frame["stay_id" if name == "hourly" else "patientunitstayid"].isin(stays)]

    counts = {
        (source, code): number
        for source, code, number in demo.connection.execute(
            f"SELECT split_part(source, ':', 1), code, count(*) FROM {demo.relation} GROUP BY ALL"
        ).fetchall()
    }

    def total(source: str, prefix: str) -> int:
        return sum(n for (s, c), n in counts.items() if s == source and c.startswith(prefix))

    assert counts["patient", "VISIT//icu"] == len(kept)
    assert counts["patient", "VISIT//inpatient"] == kept.patienthealthsystemstayid.nunique()
    grid = table("hourly")
    assert counts["hourly", "LAB//magnesium"] == grid.mg.notna().sum()
    assert counts["hourly", "VITAL//heartrate"] == grid.hr.notna().sum()
    # Orders without a name take one of their ingredients' number, where it has any.
    whole = pd.read_parquet(shared_data / "eicu_demo" / "medication.parquet")
    whole["named"] = whole.drugname.str.strip().fillna("") != ""
    numbers = set(whole.drughiclseqno[whole.named & (whole.drughiclseqno > 0)])
    medication = whole[whole.named | whole.drughiclseqno.isin(numbers)]
    medication = medication[medication.patientunitstayid.isin(stays)]
    medication = medication[medication.drugordercancelled != "Yes"]
    late = medication.drugstopoffset < medication.drugstartoffset
    medication = medication[~(late & (medication.drugstopoffset != 0))]
    ends = kept.assign(end=kept[["hospitaldischargeoffset", "unitdischargeoffset"]].max(axis=1))
    ends["at"] = ends.end - ends.hospitaladmitoffset
    last = ends.patienthealthsystemstayid.map(ends.groupby("patienthealthsystemstayid")["at"].max())
    end_of = dict(zip(ends.patientunitstayid, last + ends.hospitaladmitoffset, strict=True))
    before = medication.drugstartoffset < medication.patientunitstayid.map(end_of)
    assert total("medication", "DRUG//") == before.sum()
    diagnosis = table("diagnosis")
    assert total("diagnosis", "CONDITION//") == len(diagnosis)
    codes = diagnosis.assign(code=diagnosis.icd9code.str.split(", ")).explode("code")
    written = codes.drop_duplicates(["diagnosisid", "code"]).code.dropna().tolist()
    assert total("diagnosis", "ICD") == len(written) - written.count("31.1")
    assert total("diagnosis", "ICD10CM//E83.42") == written.count("E83.42") > 100
    assert total("treatment", "PROCEDURE//") == table("treatment").treatmentstring.notna().sum()
    assert total("careplangeneral", "CARE//") == table("careplangeneral").cplitemvalue.notna().sum()
    rates = pd.to_numeric(table("infusiondrug").drugrate, errors="coerce")
    assert total("infusiondrug", "DRUG//") == (rates > 0).sum()


@pytest.mark.data
def test_demo_nothing_is_known_before_it_happened(demo: Events) -> None:
    early = demo.connection.execute(
        f"SELECT DISTINCT split_part(source, ':', 1) FROM {demo.relation} WHERE known_time < time"
    ).fetchall()
    assert early == [("medication",)], "orders alone are known before they start"
    assert demo.connection.execute(
        f"SELECT count(*) FROM {demo.relation} WHERE code LIKE 'LAB//%' "
        "AND (known_time IS NULL OR known_time <= time)"
    ).fetchall() == [(0,)]
    assert demo.connection.execute(
        f"SELECT count(*) FROM {demo.relation} WHERE known_time IS NULL "
        "AND code <> 'MEDS_BIRTH' AND code NOT LIKE 'GENDER//%' AND code NOT LIKE 'RACE//%'"
    ).fetchall() == [(0,)]
    assert demo.connection.execute(
        f"SELECT count(*) FROM {demo.relation} WHERE end_time < time"
    ).fetchall() == [(0,)]


@pytest.mark.data
def test_demo_hospitalisations_do_not_overlap(demo: Events) -> None:
    overlaps = demo.connection.execute(
        f"""
        WITH v AS (SELECT subject_id, time, end_time, visit_id FROM {demo.relation}
                   WHERE code = 'VISIT//inpatient')
        SELECT count(*) FROM v a JOIN v b ON a.subject_id = b.subject_id
        AND a.visit_id <> b.visit_id AND a.time <= b.time AND b.time < a.end_time + INTERVAL 30 DAY
        """
    ).fetchall()
    assert overlaps == [(0,)]


@pytest.mark.data
def test_demo_grid_is_later_than_the_raw_rows_of_the_same_stays(shared_data: Path) -> None:
    folder = shared_data / "eicu_demo"
    grid = open_source("eicu", folder)
    raw = open_source("eicu", folder, lab=folder / "raw_lab_subset" / "lab.csv.gz")
    query = "SELECT visit_id, numeric_value, time, known_time FROM {} WHERE code = 'LAB//potassium'"
    from_grid = grid.connection.execute(query.format(grid.relation)).df()
    from_raw = raw.connection.execute(query.format(raw.relation) + " AND source LIKE 'lab:%'").df()
    from_raw["cell"] = from_raw.time.dt.floor("min")
    joined = from_raw.merge(from_grid, on=["visit_id", "numeric_value"], suffixes=("", "_grid"))
    inside = (joined.time >= joined.time_grid) & (
        joined.time < joined.time_grid + pd.Timedelta(hours=1)
    )
    joined = joined[inside]
    assert len(joined) > 300
    # The grid's time precedes the draw; its known_time does not precede the result by much, and
    # mostly not at all.
    assert ((joined.known_time_grid - joined.time) >= pd.Timedelta(minutes=45)).all()
    assert (joined.known_time_grid >= joined.known_time).mean() > 0.8
    # No laboratory value of a stay stands there twice.
    assert raw.connection.execute(
        f"SELECT count(*) FROM (SELECT visit_id FROM {raw.relation} WHERE code LIKE 'LAB//%' "
        "GROUP BY visit_id HAVING count(DISTINCT split_part(source, ':', 1)) > 1)"
    ).fetchall() == [(0,)]
