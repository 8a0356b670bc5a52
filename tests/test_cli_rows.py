"""Tables that commands write in parts are those written whole."""

from __future__ import annotations

import pandas as pd
import pytest

from magml.cli.rows import write_parts, write_table
from magml.errors import InputError

PARTS = [
    pd.DataFrame({"n": [1, 2], "value": [0.5, None], "evidence": [None, None]}),
    pd.DataFrame({"n": [3], "value": [1.5], "evidence": ["=SUM(A1), twice"]}),
]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_parts_make_one_table(tmp_path, suffix):
    out = tmp_path / f"parts.{suffix}"
    assert write_parts(iter(PARTS), out) == str(out)
    read = pd.read_csv if suffix == "csv" else pd.read_parquet
    found = read(out)
    assert found["n"].tolist() == [1, 2, 3]
    assert found["value"].isna().tolist() == [False, True, False]
    assert found["evidence"].isna().tolist() == [True, True, False]
    # A spreadsheet would take the text for a formula; Parquet goes to programs.
    assert found["evidence"][2] == ("'" if suffix == "csv" else "") + "=SUM(A1), twice"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_without_rows_has_its_columns(tmp_path, suffix):
    out = tmp_path / f"none.{suffix}"
    write_table(PARTS[1][:0], out)
    read = pd.read_csv if suffix == "csv" else pd.read_parquet
    assert list(read(out).columns) == ["n", "value", "evidence"]


def test_what_fails_in_the_middle_leaves_nothing(tmp_path):
    def parts():
        yield PARTS[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        write_parts(parts(), tmp_path / "out.parquet")
    assert not list(tmp_path.iterdir())
