"""The layouts that can be read, and the one function that opens them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError, nearest
from magml.events.table import Events, connect, reading

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Layout:
    """One layout: its name, what `data` is, and the module whose ``open_`` reads it."""

    name: str
    data: str
    module: str

    def opener(self) -> Callable[..., Events]:
        """Return the function that opens this layout, importing its module."""
        function: Callable[..., Events] = import_module(self.module).open_layout
        return function


#: Layouts by name.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "physionet2012",
            "a folder or file: events.parquet, raw text files, or an archive of them",
            "magml.sources.physionet2012",
        ),
        Layout(
            "eicu",
            "a folder of eICU tables as Parquet or CSV under their own names",
            "magml.sources.eicu",
        ),
        Layout(
            "omop",
            "an OMOP CDM: a folder or zip of Parquet or CSV tables, a DuckDB file or connection",
            "magml.sources.omop",
        ),
        Layout(
            "meds",
            "a MEDS data set: a folder with data/ and metadata/codes.parquet",
            "magml.sources.meds",
        ),
        Layout(
            "plain",
            "a folder of CSV or Parquet tables with a mapping.yaml",
            "magml.sources.plain",
        ),
        Layout(
            "nhanes1",
            "the NHANES I subset: subset_X.csv or its folder",
            "magml.sources.nhanes1",
        ),
        Layout(
            "nhanes",
            "NHANES from 1999 on: a folder of its XPT files, gzipped or not",
            "magml.sources.nhanes",
        ),
        Layout(
            "fhir",
            "FHIR R4: a folder of NDJSON (bulk export), or a JSON file with a Bundle",
            "magml.fhir.read",
        ),
        Layout(
            "events",
            "events in the contract's form: a file, or a folder of Parquet files",
            "magml.sources.contract",
        ),
    )
}


def open_source(
    layout: str,
    data: Any,
    *,
    connection: duckdb.DuckDBPyConnection | None = None,
    **options: Any,
) -> Events:
    """Open records of a layout as events, without loading its tables.

    Parameters
    ----------
    layout
        Name of a layout, a key of `LAYOUTS`.
    data
        Path to the folder or file; the layout ``events`` also takes pandas and Arrow tables.
    connection
        DuckDB connection to use; default a new one in memory.
    **options
        Options of the layout, as its documentation names them (`docs/sources.md`).

    Returns
    -------
    Events
        A relation with the columns of `magml.tables.EVENTS`, the subject map, and notes on what
        was decided and left out, with counts.

    Raises
    ------
    InputError
        An unknown layout or option, a missing file or column, values that do not fit.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"subject_id": [7], "time": [pd.Timestamp("2020-01-01")],
    ...                       "code": ["LAB//Mg"], "numeric_value": [1.6], "unit": ["mg/dL"]})
    >>> open_source("events", table).count()
    1
    >>> open_source("eicuu", ".")
    Traceback (most recent call last):
    magml.errors.InputError: no layout 'eicuu'. Expected: did you mean 'eicu'?. What to do: ...
    """
    if layout not in LAYOUTS:
        raise InputError(
            f"no layout {layout!r}",
            nearest(layout, LAYOUTS),
            "name a layout: "
            + "; ".join(f"{item.name} ({item.data})" for item in LAYOUTS.values()),
        )
    function = LAYOUTS[layout].opener()
    known = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for name in options:
        if name not in known:
            raise InputError(
                f"the layout {layout} has no option {name!r}",
                nearest(name, known) if known else "no options",
                "correct or remove the option",
            )
    if isinstance(data, str | Path) and not Path(data).exists():
        raise InputError(
            f"no file or folder '{Path(data).name}'",
            f"for the layout {layout}: {LAYOUTS[layout].data}",
            "check the path",
        )
    with reading(f"the data of the layout {layout}"):
        return function(data, connection or connect(), **options)
