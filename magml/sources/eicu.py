"""The layout ``eicu``: the eICU Collaborative Research Database, tables under their own names.

Pollard TJ, Johnson AEW, Raffa JD, Celi LA, Mark RG, Badawi O. The eICU Collaborative Research
Database, a freely available multi-center database for critical care research. Sci Data
2018;5:180178. doi:10.1038/sdata.2018.178
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.clock import seconds
from magml.errors import InputError
from magml.events.table import Events
from magml.sources.eicu_care import care_rows
from magml.sources.eicu_drugs import drug_rows
from magml.sources.eicu_labs import measurement_rows
from magml.sources.eicu_timeline import build_timeline, visit_rows
from magml.sources.tables import TableFolder, check_units_option, relation_name, with_units

if TYPE_CHECKING:
    import duckdb

#: Tables that are read where they are there. Never read: the APACHE tables (worst values of the
#: first day, scores and outcomes), whatever is known at discharge, and notes of free text.
TABLES = (
    "lab",
    "hourly",
    "vitalperiodic",
    "vitalaperiodic",
    "medication",
    "infusiondrug",
    "admissiondrug",
    "diagnosis",
    "admissiondx",
    "pasthistory",
    "treatment",
    "careplangeneral",
    "intakeoutput",
)


def open_layout(
    data: Any,
    connection: duckdb.DuckDBPyConnection,
    *,
    lab_turnaround: str = "45min",
    gas_turnaround: str = "15min",
    infusion_gap: str = "4h",
    lab: str | Path | None = None,
    units: dict[str, str] | None = None,
) -> Events:
    """Open eICU tables as events.

    Parameters
    ----------
    data
        Folder of tables as Parquet or CSV; only ``patient`` must be there.
    connection
        DuckDB connection to use.
    lab_turnaround, gas_turnaround
        Time from a specimen to its result for laboratory values, and for blood gases and bedside
        glucose, where the tables do not record it.
    infusion_gap
        How long a charted infusion rate holds without another charting.
    lab
        File of the raw laboratory table, where it does not stand in the folder. Stays with raw
        rows take their laboratory values from there, the others from the hourly grid.
    units
        ``{code: unit}`` that replaces what the tables say.

    Raises
    ------
    InputError
        A missing table or column, a file that cannot be read, text where a number must be.
    """
    delays = {"lab": seconds(lab_turnaround), "gas": seconds(gas_turnaround), "bedside": 0}
    given = check_units_option(units)
    overrides = {}
    if lab is not None:
        overrides["lab"] = Path(lab)
        if not overrides["lab"].is_file():
            raise InputError(
                f"no file '{Path(lab).name}'", "the raw laboratory table", "check the option lab"
            )
    tables = TableFolder(Path(data), connection, "eICU", overrides)
    timeline = build_timeline(tables, connection)
    measured, lab_notes = measurement_rows(tables, timeline, connection, delays)
    drugs, drug_notes = drug_rows(tables, timeline, connection, seconds(infusion_gap))
    care, care_notes = care_rows(tables, timeline)
    replaced = ("vitalperiodic", "vitalaperiodic") if tables.has("hourly") else ()
    absent = [name for name in TABLES if not tables.has(name) and name not in replaced]
    notes = [
        *timeline.notes,
        f"turnaround: laboratory {lab_turnaround}, blood gases and bedside glucose "
        f"{gas_turnaround}, where the tables do not record the result's time",
        *lab_notes,
        *drug_notes,
        *care_notes,
        *([f"tables not in the folder: {', '.join(absent)}"] if absent else []),
    ]
    queries = [*visit_rows(timeline), *measured, *drugs, *care]
    view = relation_name(connection, "eicu")
    sql = with_units("\nUNION ALL\n".join(queries), given)
    connection.execute(f"CREATE TEMP VIEW {view} AS {sql}")
    return Events(
        connection,
        view,
        subjects=timeline.subjects,
        name="eicu",
        notes=tuple(notes),
        files=tuple(tables.files),
        unit_overrides=given,
    )
