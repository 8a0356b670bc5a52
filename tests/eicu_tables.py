"""Small eICU tables, and their events as tests read them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd

from magml.events import Events

#: Unit stay, hospitalisation, person, age, year, clock time, hospital admission and discharge and
#: unit discharge as minutes from unit admission.
STAYS = [
    (100, 10, "a-1", "60", 2014, "08:00:00", -120, 4320, 600),
    (101, 10, "a-1", "60", 2014, "08:00:00", -1560, 2880, 500),
    (110, 11, "a-1", "61", 2015, "23:30:00", -30, 5000, 4000),
    # Same year, same age: nothing tells which came first.
    (200, 20, "b-2", "> 89", 2014, "12:00:00", 60, 2000, 900),
    (210, 21, "b-2", "> 89", 2014, "07:00:00", 0, 1000, 900),
    # Same year, the age tells: 31 came before 30.
    (300, 30, "c-3", "71", 2014, "10:00:00", 0, 1440, 1000),
    (310, 31, "c-3", "70", 2014, "06:15:00", 0, 1440, 1000),
]
#: When each unit stay that is kept begins, worked out by hand. Stay 200 enters the unit an hour
#: before the hospital, at noon of the second day; stay 300 follows a day in hospital, the day of
#: admission and 30 days.
ADMITTED = {
    100: dt.datetime(2014, 1, 1, 10, 0),
    101: dt.datetime(2014, 1, 2, 10, 0),
    110: dt.datetime(2015, 1, 2, 0, 0),
    200: dt.datetime(2014, 1, 2, 11, 0),
    310: dt.datetime(2014, 1, 1, 6, 15),
    300: dt.datetime(2014, 2, 2, 10, 0),
}


def patient(**columns: Any) -> pd.DataFrame:
    """Return the table patient for `STAYS`, with columns replaced."""
    names = (
        "patientunitstayid", "patienthealthsystemstayid", "uniquepid", "age",
        "hospitaldischargeyear", "hospitaladmittime24", "hospitaladmitoffset",
        "hospitaldischargeoffset", "unitdischargeoffset",
    )  # fmt: skip
    frame = pd.DataFrame(STAYS, columns=list(names)).assign(
        gender="Female",
        ethnicity="Caucasian",
        hospitalid=59,
        admissionheight=160.0,
        admissionweight=70.5,
        dischargeweight=69.0,
        unittype="MICU",
        unitadmitsource="Operating Room",
        hospitaldischargestatus="Alive",
    )
    return frame.assign(**columns)


def write(folder: Path, **tables: pd.DataFrame) -> Path:
    """Write tables as Parquet, `patient` among them, and return the folder."""
    for name, frame in {"patient": patient(), **tables}.items():
        frame.to_parquet(folder / f"{name}.parquet")
    return folder


def rows(
    events: Events, where: str, columns: str = "code, time, known_time"
) -> list[tuple[Any, ...]]:
    """Return chosen rows in a fixed order."""
    return events.connection.execute(
        f"SELECT {columns} FROM {events.relation} WHERE {where} ORDER BY ALL"
    ).fetchall()


def after(stay: int, minutes: float) -> dt.datetime:
    """Return a moment as the tables give it: minutes after a unit admission."""
    return ADMITTED[stay] + dt.timedelta(minutes=minutes)
