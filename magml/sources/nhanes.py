"""The layout ``nhanes``: NHANES from 1999 on, one examination of each person.

National Center for Health Statistics, National Health and Nutrition Examination Survey. No cycle
measured serum magnesium: the survey has magnesium in the diet, drugs, and kidney function.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from magml.errors import InputError, nearest
from magml.events.table import Events
from magml.sources.nhanes_alcohol import VARIABLES, usual_drinks
from magml.sources.nhanes_files import Cycle, find_cycles, read_table
from magml.sources.tables import event_rows, relation_name, source_table

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_COLUMNS = ("subject_id", "time", "code", "numeric_value", "unit", "known_time", "end_time")
#: Highest age in years, and most days that a drug was taken, of files that are not damaged.
_OLDEST, _LONGEST = 130, 100_000


def open_layout(data: Any, connection: duckdb.DuckDBPyConnection, *, cycles: Any = None) -> Events:
    """Open NHANES as events.

    Parameters
    ----------
    data
        Folder of SAS transport files under their own names, with or without gzip.
    connection
        DuckDB connection to use.
    cycles
        Letters of the cycles to read (``[C, D]``); default all in the folder.

    Raises
    ------
    InputError
        No DEMO file, a file that cannot be read or lacks a variable.
    """
    import pandas as pd
    import pyarrow as pa

    found = find_cycles(Path(data), _letters(cycles))
    frames: list[pd.DataFrame] = []
    lacking: list[str] = []
    for cycle in found:
        frames.extend(_cycle_rows(cycle))
        lacking += [
            f"{table} of {cycle.letter}"
            for table in ("diet", "second_day", "supplements", "chemistry", "drugs", "alcohol")
            if table not in cycle.files
        ]
    whole = pd.concat(
        [frame.reindex(columns=_COLUMNS).dropna(axis=1, how="all") for frame in frames],
        ignore_index=True,
    ).reindex(columns=_COLUMNS)
    rows, relation = (relation_name(connection, name) for name in ("nhanes_rows", "nhanes"))
    connection.register(rows, pa.Table.from_pandas(whole, preserve_index=False))
    given = {name: name for name in _COLUMNS}
    connection.execute(
        f"CREATE TEMP VIEW {relation} AS "
        + event_rows(
            rows,
            **given,
            visit_id="CASE WHEN time IS NOT NULL AND code <> 'MEDS_BIRTH' THEN 'examination' END",
        )
    )
    return Events(
        connection,
        relation,
        name="nhanes",
        notes=(
            f"cycles {', '.join(cycle.letter for cycle in found)}; "
            + (f"no file: {', '.join(lacking)}" if lacking else "all files there"),
            "one examination with artificial times (9:00 on 1 January of the cycle's second "
            "year): results known at 10:00, the recall is of the day before, drugs run since "
            "the days reported",
            "no cycle measured magnesium in serum; DIET//magnesium is intake from food",
            "creatinine of 1999-2000 and 2005-06 was brought to the standard",
            "recalls other than reliable, refused answers and drugs not named were left out; "
            "a combination is one row an ingredient",
            "survey weights are not in the events: magml.sources.nhanes.design",
        ),
        files=tuple(path for cycle in found for path in cycle.files.values()),
    )


def design(
    data: Any,
    weight: Literal["diet", "examination", "interview"] = "diet",
    cycles: Any = None,
) -> pd.DataFrame:
    """Return the survey's design, for estimates with `magml.survey`.

    Parameters
    ----------
    data
        Folder of the files.
    weight
        Which weight: that of the smallest part whose answers are used (``diet`` for the day-one
        recall). A cycle's is multiplied by its share of all years, so that of n cycles of two
        years each is divided by n.
    cycles
        As for the layout.

    Returns
    -------
    pandas.DataFrame
        Everyone interviewed: subject_id, weight (0 for who was not in that part), stratum, psu
        and cycle (its letter).

    Raises
    ------
    InputError
        As for the layout; a weight that does not exist.

    Notes
    -----
    For 1999-2002 the survey advises four-year weights, which are not used here.
    """
    import pandas as pd

    weights: dict[str, list[str]] = source_table("nhanes")["weights"]
    if weight not in weights:
        raise InputError(f"no weight {weight!r}", nearest(weight, weights), "correct it")
    frames = []
    found = find_cycles(Path(data), _letters(cycles))
    years = sum(cycle.years for cycle in found)
    for cycle in found:
        variable = weights[weight][cycle.letter == "P"]
        there = ("SDMVSTRA", "SDMVPSU") if weight == "diet" else ("SDMVSTRA", "SDMVPSU", variable)
        frame = read_table(cycle.files["demographics"], there)
        if weight == "diet":
            if "diet" not in cycle.files:
                raise InputError(
                    f"no diet file of cycle {cycle.letter}", "DR1TOT", "add it, or name cycles"
                )
            asked = read_table(cycle.files["diet"], (variable,))
            frame = frame.merge(asked, on="SEQN", how="left", validate="one_to_one")
        share = cycle.years / years
        frames.append(frame.assign(cycle=cycle.letter, weight=frame[variable].fillna(0.0) * share))
    table = pd.concat(frames, ignore_index=True)
    return pd.DataFrame(
        {
            "subject_id": table["SEQN"],
            "weight": table["weight"],
            "stratum": table["SDMVSTRA"].astype("int64"),
            "psu": table["SDMVPSU"].astype("int64"),
            "cycle": table["cycle"],
        }
    )


def _letters(cycles: Any) -> tuple[str, ...] | None:
    """Return the option ``cycles`` as letters."""
    if cycles is None:
        return None
    letters = tuple(cycles) if isinstance(cycles, str | list | tuple) else ()
    if not letters or not all(isinstance(one, str) and len(one) == 1 for one in letters):
        raise InputError(
            "the option cycles is not a list of letters", "for example [C, D]", "correct it"
        )
    return tuple(one.upper() for one in letters)


def _cycle_rows(cycle: Cycle) -> list[pd.DataFrame]:
    """Return the rows of one cycle."""
    settings = source_table("nhanes")
    examined = dt.datetime(cycle.start + 1, 1, 1, 9)
    frames = _people(cycle, examined)
    if "diet" in cycle.files:
        frames += _diet(cycle.files["diet"], examined)
    if "second_day" in cycle.files:
        frames += _diet(cycle.files["second_day"], examined, second=True)
    if "supplements" in cycle.files:
        variables = settings["supplements"]
        taken = read_table(cycle.files["supplements"], (), tuple(variables))
        for name in taken.columns[1:]:
            rows = _numbers(taken, name, *variables[name])
            frames.append(rows.assign(time=examined, known_time=examined))
    for table in ("chemistry", "crp", "crp_sensitive", "body"):
        if table in cycle.files:
            variables = settings[table]
            values = read_table(cycle.files[table], (), tuple(variables))
            scale, shift = settings["creatinine"].get(cycle.letter, (1.0, 0.0))
            for name in values.columns[1:]:
                code, unit = variables[name]
                if name in ("LBXSCR", "LBDSCR"):
                    values[name] = values[name] * scale + shift
                late = {"time": examined, "known_time": examined + dt.timedelta(hours=1)}
                frames.append(_numbers(values, name, code, unit).assign(**late))
    if "drugs" in cycle.files:
        frames.append(_drugs(cycle.files["drugs"], examined))
    if "alcohol" in cycle.files:
        answers = read_table(cycle.files["alcohol"], (), VARIABLES)
        answers["usual"] = usual_drinks(answers)
        rows = _numbers(answers, "usual", "DIET//alcohol_usual", "drinks/d")
        frames.append(rows.assign(time=examined, known_time=examined))
    return frames


def _people(cycle: Cycle, examined: dt.datetime) -> list[pd.DataFrame]:
    """Return births, sexes and examinations."""
    import pandas as pd

    needed = ("RIAGENDR", "RIDAGEYR", "RIDSTATR")
    people = read_table(cycle.files["demographics"], needed, ("RIDRETH1",))
    if people["SEQN"].duplicated().any():
        raise InputError(
            f"{cycle.files['demographics'].name}: people stand twice", "one row each", "check it"
        )
    number = people["SEQN"]
    _check_between(people["RIDAGEYR"], _OLDEST, cycle.files["demographics"])
    born = pd.Timestamp(examined) - pd.to_timedelta(people["RIDAGEYR"] * 365.25, unit="D")
    sexes = "GENDER//" + people["RIAGENDR"].map(source_table("nhanes")["sexes"])
    births = pd.DataFrame({"subject_id": number, "time": born.dt.floor("s"), "code": "MEDS_BIRTH"})
    visits = pd.DataFrame({"subject_id": number[people["RIDSTATR"] == 2]}).assign(
        code="VISIT//outpatient",
        time=examined,
        known_time=examined,
        end_time=examined + dt.timedelta(hours=8),
    )
    genders = pd.DataFrame({"subject_id": number, "code": sexes}).dropna()
    if "RIDRETH1" not in people.columns:
        return [births, genders, visits]
    races = "RACE//" + people["RIDRETH1"].map(source_table("nhanes")["races"])
    return [
        births, genders, visits, pd.DataFrame({"subject_id": number, "code": races}).dropna()
    ]  # fmt: skip


def _diet(path: Path, examined: dt.datetime, second: bool = False) -> list[pd.DataFrame]:
    """Return intake of the recalled day, from reliable recalls.

    The first is of the day before the examination; the second, by telephone 3 to 10 days after it,
    stands on the fifth day and is known on the next.
    """
    settings = source_table("nhanes")
    reliable = settings["second_reliable" if second else "reliable"]
    names = {
        code: [name.replace("DR1", "DR2") if second else name for name in item["variables"]]
        for code, item in settings["diet"].items()
    }
    values = read_table(path, (), (*reliable, *(name for all_ in names.values() for name in all_)))
    status = next((name for name in reliable if name in values.columns), None)
    if status is None:
        raise InputError(
            f"{path.name} has no {reliable[0]}", "the recall's status", "check the file"
        )
    values = values[values[status] == 1]
    day = examined.replace(hour=0) + dt.timedelta(days=5 if second else -1)
    over = day + dt.timedelta(days=1)
    times = {"time": day, "end_time": over, "known_time": over.replace(hour=examined.hour)}
    return [
        _numbers(values, name, code, settings["diet"][code]["unit"]).assign(**times)
        for code, variables in names.items()
        for name in variables
        if name in values.columns
    ]


def _drugs(path: Path, examined: dt.datetime) -> pd.DataFrame:
    """Return current drugs, one row an ingredient."""
    import pandas as pd

    refused = source_table("nhanes")["refused"]
    taken = read_table(path, ("RXDDRUG",), ("RXDDAYS",))
    names = taken["RXDDRUG"].astype("string").str.strip()
    taken = taken.assign(name=names)[names.notna() & (names != "") & ~names.isin(refused["drug"])]
    taken = taken.assign(name=taken["name"].str.split(";")).explode("name")
    taken["name"] = taken["name"].str.strip()
    taken = taken[taken["name"] != ""]
    days = taken["RXDDAYS"] if "RXDDAYS" in taken.columns else pd.Series(0.0, taken.index)
    # Days unknown: the drug runs at the examination, since when nobody knows.
    since = days.where(~days.isin(refused["days"])).fillna(0)
    _check_between(since, _LONGEST, path)
    return pd.DataFrame(
        {
            "subject_id": taken["SEQN"],
            "time": pd.Timestamp(examined) - pd.to_timedelta(since, unit="D"),
            "code": "DRUG//" + taken["name"],
            "known_time": examined,
        }
    ).drop_duplicates(["subject_id", "time", "code"])


def _check_between(values: pd.Series, most: float, path: Path) -> None:
    """Refuse values that no person can have: damage, not data."""
    wrong = int(((values < 0) | (values > most)).sum())
    if wrong:
        raise InputError(
            f"{path.name}: {wrong} values of {values.name} are not between 0 and {most:g}",
            "a file as the survey published it",
            "check whether the download is complete",
        )


def _numbers(values: pd.DataFrame, variable: str, code: str, unit: str) -> pd.DataFrame:
    """Return rows of one variable's values that are there."""
    import pandas as pd

    there = values[variable].notna()
    return pd.DataFrame(
        {"subject_id": values["SEQN"][there], "numeric_value": values[variable][there]}
    ).assign(code=code, unit=unit)
