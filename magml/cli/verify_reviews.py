"""Checking a record of reviews."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from magml.cli.options import JsonOption, print_result

RecordOption = Annotated[
    Path, typer.Option("--record", help="The record's folder: database, key and head.")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--db", help="Its database elsewhere: sqlite:///FILE or postgresql://..."),
]
KeyOption = Annotated[Path | None, typer.Option("--key", help="Its key elsewhere.")]
HeadOption = Annotated[Path | None, typer.Option("--head", help="Its head elsewhere.")]


def verify_reviews(
    record: RecordOption = Path("reviews"),
    db: DatabaseOption = None,
    key: KeyOption = None,
    head: HeadOption = None,
    expect: Annotated[
        str | None, typer.Option("--expect", help="A head noted earlier, COUNT:HASH.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find reviews that were altered, removed, reordered or cut off."""
    from magml.review import verify_reviews as verify

    found = verify(record, db=db, key=key, head=head, expected=expect)
    print_result(found.to_dict(), found.text(), as_json)
    if not found.passed:
        raise typer.Exit(2)
