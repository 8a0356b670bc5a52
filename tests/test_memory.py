"""Memory: sizes that are and are not, what they give to engine and ranges, and what spills."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import magml.memory
from magml import leftovers
from magml.errors import InputError
from magml.events import connect
from magml.features.ranges import CELLS, ROWS, Size
from magml.memory import bounded, limit, limited, machine_memory, memory_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GB", 10**9), (" 1.5 gb ", 1_500_000_000), ("1GiB", 2**30), ("600M", 600_000_000),
        ("600MB", 600_000_000), ("1g", 10**9), (700_000_000, 700_000_000),
    ],
)  # fmt: skip
def test_sizes_are_read_as_they_are_written(text: str | int, size: int) -> None:
    assert memory_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "4 potatoes", "-1GB", "1,5GB", "GB", "1e9", "nan"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a size such as 4GB"):
        memory_size(text)


@pytest.mark.parametrize("text", ["0", "1MB", "499MB", "900TB"])
def test_too_little_and_more_than_there_is_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="at least 500MB"):
        memory_size(text)


def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = machine_memory()
    monkeypatch.setattr(magml.memory, "_CGROUPS", (str(tmp_path / "max"),))
    for text, expected in (("max\n", None), ("3000000000\n", 3_000_000_000)):
        (tmp_path / "max").write_text(text)
        assert machine_memory() == (expected or max(whole, machine_memory()))
    assert limit().size == 750_000_000


def test_a_limit_holds_within_and_spills_beside_the_output(tmp_path: Path) -> None:
    out = tmp_path / "matrix.parquet"
    before = limit()
    with limited("800MB", beside=out):
        assert limit().size == 800_000_000
        connection = connect()
        told = connection.execute(
            "SELECT current_setting('memory_limit'), current_setting('temp_directory')"
        ).fetchall()[0]
        assert told == ("381.4 MiB", str(limit().spill))
        assert limit().spill.parent == tmp_path
        assert limit().spill.stat().st_mode & 0o077 == 0  # nobody else reads what spills
        # Twice as much as the engine may hold: it goes to disk, and the query ends.
        connection.execute(
            "CREATE TEMP TABLE much AS SELECT i, random() r FROM range(50_000_000) t(i)"
        )
        assert any(limit().spill.iterdir())
        connection.close()
    assert list(tmp_path.iterdir()) == []
    assert limit() == before


def test_what_a_killed_process_spilled_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".out.magml-abcdefgh").mkdir()  # nobody holds it
    with leftovers.beside(tmp_path / "out") as others:
        with limited(None, beside=tmp_path / "out"):
            pass
        assert list(tmp_path.iterdir()) == [others]
    with limited(None, beside=tmp_path / "no" / "such" / "out"):
        assert limit().spill.parent == tmp_path  # made only when something is written there
    assert list(tmp_path.iterdir()) == []


def test_ranges_follow_memory_and_stop_growing() -> None:
    small, large = Size.of(500_000_000, 2), Size.of(2_000_000_000, 2)
    assert large.rows == 4 * small.rows
    assert Size.of(500_000_000, 2, engine=False).rows > 2 * small.rows
    assert Size.of(10**12, 2) == Size(ROWS, CELLS, workers=2)
    assert Size.of(10**9, 8).rows < Size.of(10**9, 2).rows


def test_a_function_runs_in_the_memory_it_is_given(tmp_path: Path) -> None:
    @bounded(inside=True)
    def work(out: Path = tmp_path, memory: str | None = None) -> tuple[int, Path]:
        return limit().size, limit().spill

    size, spill = work(memory="600MB")
    assert (size, spill.parent) == (600_000_000, tmp_path)
    assert work()[0] == machine_memory() // 4
    with pytest.raises(InputError):
        work(memory="little")


def test_the_command_line_says_what_is_wrong() -> None:
    command = [str(Path(sys.executable).with_name("magml")), "features", "--memory", "1MB"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "at least 500MB" in json.loads(done.stdout)["error"]
