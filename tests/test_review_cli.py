"""``magml review`` and ``magml review-user``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra review")
from typer.testing import CliRunner

from magml.bundle.write import write_bundle
from magml.cli.app import app
from magml.errors import InputError
from magml.review.accounts import check_password, list_accounts
from magml.review.record import Places, open_record
from tests.bundle_parts import contents
from tests.review_parts import PEOPLE, records

RUN = CliRunner()


def test_people_are_added_without_a_password_in_the_command(tmp_path: Path) -> None:
    where = ["--record", str(tmp_path / "reviews")]
    added = RUN.invoke(
        app, ["review-user", "ada", "--password-stdin", *where], input="a long enough one\n"
    )
    assert added.exit_code == 0, added.output
    RUN.invoke(app, ["review-user", "lea", "--role", "lead", "--no-password", *where])
    record = open_record(Places.of(tmp_path / "reviews"))
    assert check_password(record.engine, "ada", "a long enough one") is not None
    assert check_password(record.engine, "ada", "a long enough One") is None
    assert check_password(record.engine, "lea", "") is None
    listed = RUN.invoke(app, ["review-user", "--json", *where])
    assert [one["name"] for one in json.loads(listed.stdout)["people"]] == ["ada", "lea"]
    assert RUN.invoke(app, ["review-user", "ada", "--disable", *where]).exit_code == 0
    assert [one.active for one in list_accounts(record.engine)] == [False, True]
    record.close()
    # Nobody to ask, and a password that will not do.
    assert isinstance(RUN.invoke(app, ["review-user", "eve", *where]).exception, InputError)
    short = RUN.invoke(app, ["review-user", "eve", "--password-stdin", *where], input="short\n")
    assert isinstance(short.exception, InputError)


def test_pages_are_prepared_once(tmp_path: Path) -> None:
    events, times, _ = records()
    write_bundle(tmp_path / "bundle", contents())
    events.to_parquet(tmp_path / "events.parquet")
    times.to_parquet(tmp_path / "at.parquet")
    command = [
        "review", str(tmp_path / "bundle"), "--events", str(tmp_path / "events.parquet"),
        "--at", str(tmp_path / "at.parquet"), "--record", str(tmp_path / "reviews"),
        "--prepare-only", "--json",
    ]  # fmt: skip
    first = RUN.invoke(app, command)
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout.splitlines()[-1])["pages"] == PEOPLE
    (pages,) = (tmp_path / "reviews" / "pages").glob("*.db")
    before = pages.stat().st_mtime_ns
    assert RUN.invoke(app, command).exit_code == 0
    assert pages.stat().st_mtime_ns == before
    opened = RUN.invoke(app, [*command[:-2], "--host", "0.0.0.0"])
    assert isinstance(opened.exception, InputError)
    assert "asked who they are" in str(opened.exception)


@pytest.mark.parametrize("name", ["fastapi", "argon2", "sqlalchemy"])
def test_a_missing_extra_is_said(name: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules[{name!r}] = None; from magml.cli import main; "
        f"sys.argv = ['magml', 'review-user', '--record', {str(tmp_path)!r}]; main()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 2
    assert "pip install 'magml[review]'" in found.stderr
    assert "Traceback" not in found.stderr
