"""What a report is made of, before it is HTML or Markdown: sections of texts, tables, figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Number:
    """A figure with where it comes from, so that a reader's program can compare it.

    Attributes
    ----------
    text
        As it is shown.
    value
        In full.
    metric
        Name of the MLflow metric; empty where it stands in a file of the results.
    run
        Name of the MLflow child run that holds the metric; empty for the run itself.
    file, where, column
        File of the results, the row in it (column to value), and the column.
    """

    text: str
    value: float
    metric: str = ""
    run: str = ""
    file: str = ""
    where: tuple[tuple[str, str], ...] = ()
    column: str = ""


Cell: TypeAlias = "str | Number | tuple[str | Number, ...]"


@dataclass(frozen=True)
class Text:
    """A paragraph; `strong` is put before it in bold."""

    text: str
    strong: str = ""


@dataclass(frozen=True)
class Notice:
    """A paragraph that must not be overlooked."""

    text: str
    kind: Literal["warning", "note"] = "note"


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table; columns in `numeric` are set flush right.

    A row of one cell is a heading of the rows under it. `small` sets the table in small print.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    numeric: frozenset[int] = frozenset()
    small: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture with what it shows in words."""

    name: str
    png: bytes
    caption: str


Block: TypeAlias = "Text | Notice | Bullets | Table | Figure"


@dataclass(frozen=True)
class Section:
    """A part of the report with a name to point to."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes
    ----------
    title, subtitle
        What it is of.
    tiles
        The few figures that stand first, by their names.
    sections
        Parts in order.
    absent
        Required items that neither the run nor the author answers, as ``TRIPOD+AI 20a: ...``.
    open_items
        Items that are the author's to write, as above.
    """

    title: str
    subtitle: str
    tiles: Mapping[str, Cell]
    sections: tuple[Section, ...]
    absent: tuple[str, ...] = ()
    open_items: tuple[str, ...] = ()


def plain(cell: Cell) -> str:
    """Return a cell as text.

    Examples
    --------
    >>> plain((Number("0.75", 0.7512), " (", Number("0.70", 0.7), ")"))
    '0.75 (0.70)'
    """
    if isinstance(cell, tuple):
        return "".join(plain(part) for part in cell)
    return cell.text if isinstance(cell, Number) else cell
