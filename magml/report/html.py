"""A report as one HTML file with everything inside it: no script, no request."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from magml.report.blocks import Cell, Number, Report

if TYPE_CHECKING:
    from markupsafe import Markup


def to_html(report: Report) -> str:
    """Return a report as HTML; every text is escaped.

    Figures are ``<data value="...">`` elements that name where they come from: ``data-metric``
    (and ``data-run``, a child run) for MLflow's metrics, ``data-file``, ``data-where`` and
    ``data-column`` for tables of the results.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = cell_html
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    environment.filters["is"] = lambda block, name: type(block).__name__ == name
    folder = files("magml.report") / "templates"
    template = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    from markupsafe import Markup

    css = Markup((folder / "report.css").read_text(encoding="utf-8"))
    return template.render(report=report, css=css)


def cell_html(cell: Cell) -> Markup:
    """Return a cell as HTML; what follows the first figure of several is its interval."""
    from markupsafe import Markup, escape

    if isinstance(cell, str):
        return escape(cell)
    if isinstance(cell, Number):
        return _number(cell)
    first, *rest = cell
    parts = Markup("").join(cell_html(part) for part in rest)
    return Markup("{} <span class=ci>{}</span>").format(cell_html(first), parts.strip())


def _number(number: Number) -> Markup:
    from markupsafe import Markup

    where = ";".join(f"{key}={value}" for key, value in number.where)
    named: dict[str, Any] = {
        "data-metric": number.metric,
        "data-run": number.run,
        "data-file": number.file,
        "data-where": where,
        "data-column": number.column,
    }
    attributes = Markup("").join(
        Markup(' {}="{}"').format(name, value) for name, value in named.items() if value
    )
    return Markup('<data value="{}"{}>{}</data>').format(
        repr(number.value), attributes, number.text
    )
