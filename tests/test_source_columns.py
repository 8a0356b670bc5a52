"""Names of columns are compared as the engine compares them, whatever letters they have."""

from __future__ import annotations

from pathlib import Path

import pytest

from magml.errors import InputError
from magml.sources import open_source

MAPPING = """
persons: text
tables:
  - file: vital.csv
    person: Nr
    time: {column: Tag, format: "%d.%m.%Y"}
    known: at once
    events:
      - {code: VITAL//height, value: COLUMN, unit: cm}
"""


@pytest.mark.parametrize("column", ["GRÖSSE", "grÖsse"])
def test_the_case_of_ascii_letters_is_passed_over(tmp_path: Path, column: str) -> None:
    assert [value for (value,) in values(tmp_path, column)] == [171.0]


@pytest.mark.parametrize("column", ["größe", "grösse"])
def test_another_letter_is_another_column(tmp_path: Path, column: str) -> None:
    with pytest.raises(InputError, match=f"no column {column}"):
        values(tmp_path, column)


def values(folder: Path, column: str) -> list[tuple[float]]:
    """Return the values that a mapping reads from a column of a file's that has GRÖSSE."""
    (folder / "vital.csv").write_text("Nr;Tag;GRÖSSE\nA;01.02.2020;171\n", encoding="utf-8")
    (folder / "mapping.yaml").write_text(MAPPING.replace("COLUMN", column), encoding="utf-8")
    events = open_source("plain", folder)
    return events.connection.execute(f"SELECT numeric_value FROM {events.relation}").fetchall()
