"""What ``magml check`` does: opens the events, checks them, writes the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.progress import Report

if TYPE_CHECKING:
    from magml.checks import CheckReport


def check_data(
    events: Path | None,
    source: str | None,
    data: Path | None,
    options: list[str],
    page: Path | None,
    report: Report,
) -> CheckReport:
    """Check events in the contract's form, or those of a source; write the page if asked."""
    from magml.checks import check
    from magml.files import atomic_file

    if (events is None) == (source is None) or (source is None) != (data is None):
        raise InputError(
            "it is not clear what is to be checked",
            "magml check EVENTS, or magml check --source LAYOUT --data FOLDER",
            "name one of the two",
        )
    if page is not None and page.suffix not in (".html", ".htm"):
        raise InputError(
            f"'{page.name}' does not end in .html", "--html FILE.html", "rename the output"
        )
    if source is None:
        if options:
            raise InputError(
                "--option without --source", "options belong to a layout", "add --source"
            )
        found = check(events, report=report)
    else:
        from magml.events.table import connect
        from magml.sources import open_source

        given = read_options(options)
        found = check(
            open_source(source, data, connection=connect(memory="1200MB"), **given), report=report
        )
    if page is not None:
        with atomic_file(page) as beside:
            beside.write_text(found.html(), encoding="utf-8")
    return found


def read_options(options: list[str]) -> dict[str, Any]:
    """Return options of a layout from ``key=value``; the value is read as YAML.

    Examples
    --------
    >>> read_options(["lab_turnaround=2h", "units={LAB//Mg: mg/dL}"])
    {'lab_turnaround': '2h', 'units': {'LAB//Mg': 'mg/dL'}}
    """
    import yaml

    found: dict[str, Any] = {}
    for option in options:
        key, separator, value = option.partition("=")
        if not separator or not key.strip():
            raise InputError(
                f"the option {option!r} is no key=value", "--option key=value", "add the value"
            )
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(
                f"the value of the option {key.strip()!r} cannot be read",
                "a word, a number or YAML such as {LAB//Mg: mg/dL}",
                "put the option in quotes",
            ) from error
    return found
