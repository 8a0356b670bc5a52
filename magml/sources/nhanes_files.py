"""The files of NHANES: which stand in a folder, and one of them as a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from magml.errors import InputError
from magml.limits import check_whole
from magml.sources.tables import source_table

if TYPE_CHECKING:
    import pandas as pd

_NAME = re.compile(r"(?P<before>P_)?(?P<stem>\w+?)(_(?P<letter>[A-L]))?\.XPT(\.GZ)?")
#: Years that a cycle speaks for; the pandemic ended that of the combined files.
_YEARS = {"P": 3.2}


@dataclass(frozen=True)
class Cycle:
    """One cycle of the survey: its letter, and its files by table.

    Attributes
    ----------
    letter
        C for 2003-04 to J for 2017-18, L for 2021-23; A for 1999-2000, whose files have none;
        P for the combined files of 2017 to March 2020 (``P_DEMO.xpt``), which hold J again.
    """

    letter: str
    files: dict[str, Path]

    @property
    def start(self) -> int:
        """First calendar year.

        Examples
        --------
        >>> Cycle("J", {}).start
        2017
        """
        return 2018 if self.letter == "P" else 1999 + 2 * (ord(self.letter) - ord("A"))

    @property
    def years(self) -> float:
        """Years that its weights speak for."""
        return _YEARS.get(self.letter, 2.0)


def find_cycles(folder: Path, letters: tuple[str, ...] | None = None) -> tuple[Cycle, ...]:
    """Return the cycles in a folder, in order of time.

    Parameters
    ----------
    folder
        Folder of ``.xpt`` or ``.xpt.gz`` files under the survey's own names.
    letters
        Letters of the cycles wanted; default all that have a DEMO file, without P where J is.

    Raises
    ------
    InputError
        If there is no DEMO file, none of a letter named, or both J and P are named.
    """
    table_of = {
        stem: table for table, stems in source_table("nhanes")["tables"].items() for stem in stems
    }
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _NAME.fullmatch(path.name.upper())
        if match and match["stem"] in table_of:
            letter = "P" if match["before"] else match["letter"] or "A"
            found.setdefault(letter, {})[table_of[match["stem"]]] = path
    cycles = {
        letter: Cycle(letter, files)
        for letter, files in sorted(found.items())
        if "demographics" in files
    }
    missing = [letter for letter in letters or () if letter not in cycles]
    if missing or not cycles:
        raise InputError(
            f"no demographics of cycle {', '.join(missing)} in '{folder.name}'"
            if missing
            else f"no DEMO file in '{folder.name}'",
            "a folder with DEMO_C.xpt or DEMO_C.xpt.gz, and so on for each cycle; found: "
            + (", ".join(cycles) or "none"),
            "name the folder of the NHANES files, or correct the option cycles",
        )
    if {"J", "P"} <= set(letters or ()):
        raise InputError(
            "the cycles J and P", "one of them: the files of 2017 to March 2020 hold J again",
            "name J or P",
        )  # fmt: skip
    if letters is None and "J" in cycles:
        cycles.pop("P", None)
    return tuple(cycle for cycle in cycles.values() if not letters or cycle.letter in letters)


def read_table(path: Path, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return the wanted columns of a SAS transport file; optional ones may be absent.

    Parameters
    ----------
    path
        ``.xpt``, or the same with gzip.
    needed, optional
        Variables in capitals; SEQN, the person, is always read.

    Raises
    ------
    InputError
        A file that cannot be read, a variable that is lacking, a person without a number.
    """
    import pandas as pd

    check_whole(path)
    try:
        table = pd.read_sas(
            path,
            format="xport",
            encoding="latin-1",
            compression="gzip" if path.name.lower().endswith(".gz") else None,
        )
    except Exception as error:
        raise InputError(
            f"{path.name} cannot be read ({type(error).__name__})",
            "a SAS transport file, version 5, with or without gzip",
            "check whether the download is complete",
        ) from error
    for name in ("SEQN", *needed):
        if name not in table.columns:
            raise InputError(
                f"{path.name} has no variable {name}",
                f"{', '.join(('SEQN', *needed))}",
                "compare the file with the survey's codebook",
            )
    kept = table[["SEQN", *needed, *(name for name in optional if name in table.columns)]].copy()
    if kept["SEQN"].isna().any():
        raise InputError(f"{path.name}: people without SEQN", "a number each", "check the file")
    numbers = kept.select_dtypes("number")
    # The reader returns the transport format's zero as 5.4e-79.
    kept[numbers.columns] = numbers.where(numbers.abs() > 1e-70, numbers * 0)
    kept["SEQN"] = kept["SEQN"].astype("int64")
    return kept
