"""Definition tests: small histories with the features expected of them, written in YAML.

They stand in ``features/tests/``, one file a domain, beside the definitions that they test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from magml.clock import seconds
from magml.definitions.catalogue import Catalogue, Frozen
from magml.definitions.read import parse, read_yaml
from magml.errors import DefinitionError, nearest

#: The prediction time of every case; offsets are counted from it.
PREDICTION_TIME = datetime(2026, 3, 1, 12)


def offset(text: str) -> timedelta:
    """Return an offset from the prediction time: ``-2d``, ``+30min``, ``now``.

    Examples
    --------
    >>> offset("-90min") == timedelta(minutes=-90), offset("now") == timedelta(0)
    (True, True)
    """
    if text == "now":
        return timedelta(0)
    if text[:1] not in "+-":
        raise ValueError(f"{text!r}: expected now, or + or - and a duration, such as -2d")
    sign = -1 if text[0] == "-" else 1
    try:
        return sign * timedelta(seconds=seconds(text[1:]))
    except DefinitionError as error:
        raise ValueError(f"{error.seen}; expected {error.expected}") from error


class HistoryRow(Frozen):
    """One record. Without `at` it is static; without `known` it is known when it happens."""

    code: str
    at: str | None = None
    known: str | None = None
    until: str | None = None
    value: float | None = None
    unit: str | None = None
    text: str | None = None

    @field_validator("at", "known", "until")
    @classmethod
    def _offset(cls, value: str | None) -> str | None:
        if value is not None:
            offset(value)
        return value


class Case(Frozen):
    """A history and what the features must be at the prediction time."""

    name: str
    why: str
    history: tuple[HistoryRow, ...]
    expect: dict[str, float | Literal["missing"]] = Field(min_length=1)


class CaseFile(Frozen):
    """One file of ``features/tests/``."""

    cases: tuple[Case, ...]


@dataclass(frozen=True)
class CaseResult:
    """One expectation: what was expected and what was found (NaN is missing)."""

    case: str
    why: str
    feature: str
    expected: float
    found: float

    @property
    def passed(self) -> bool:
        """Whether both are missing, or equal to six digits (features are float32)."""
        if math.isnan(self.expected) or math.isnan(self.found):
            return math.isnan(self.expected) and math.isnan(self.found)
        return math.isclose(self.expected, self.found, rel_tol=1e-6, abs_tol=1e-9)


def read_cases(folder: str | Path) -> tuple[Case, ...]:
    """Read the definition tests of a folder ``features/``.

    Parameters
    ----------
    folder
        The folder that holds ``tests/*.yaml``; without it there are no cases.

    Raises
    ------
    DefinitionError
        Naming the file and the key, or a name that stands twice.
    """
    found: dict[str, Case] = {}
    for path in sorted((Path(folder) / "tests").glob("*.yaml")):
        where = f"features/tests/{path.name}"
        for case in parse(CaseFile, read_yaml(path), where).cases:
            name = f"{path.stem}: {case.name}"
            if name in found:
                raise DefinitionError(f"{where}: two cases {case.name!r}", "one", "rename one")
            found[name] = case.model_copy(update={"name": name})
    return tuple(found.values())


def run_cases(
    cases: Sequence[Case], catalogue: Catalogue, bring: Callable[[Any], Any] | None = None
) -> tuple[CaseResult, ...]:
    """Build the features of all cases at once and compare.

    Parameters
    ----------
    cases
        As `read_cases` gives them; each is one person.
    catalogue
        The catalogue under test.
    bring
        Called with the histories as a table of events; returns what the features are built from,
        such as the same table on another engine. Default: the table itself.

    Raises
    ------
    DefinitionError
        If a case expects a feature that does not exist.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> case = Case(name="sex", why="as recorded", history=({"code": "GENDER//F"},),
    ...             expect={"demographic.female.last": 1, "lab.potassium.last": "missing"})
    >>> [result.passed for result in run_cases([case], read_catalogue())]
    [True, True]
    """
    from magml.features import build_features

    if not cases:
        return ()
    for case in cases:
        for feature in case.expect:
            if feature not in catalogue.features:
                raise DefinitionError(
                    f"case {case.name!r} expects {feature!r}, which does not exist",
                    nearest(feature, catalogue.features),
                    "correct the name",
                )
    import pandas as pd

    wanted = list(dict.fromkeys(feature for case in cases for feature in case.expect))
    at = pd.DataFrame(
        {"subject_id": range(len(cases)), "prediction_time": pd.Timestamp(PREDICTION_TIME)}
    )
    events = _events(cases)
    table = build_features(
        events if bring is None else bring(events), at, catalogue=catalogue, features=wanted
    )
    return tuple(
        CaseResult(
            case.name,
            case.why,
            feature,
            math.nan if value == "missing" else float(value),
            float(table[feature].iloc[person]),
        )
        for person, case in enumerate(cases)
        for feature, value in case.expect.items()
    )


def _events(cases: Sequence[Case]):  # type: ignore[no-untyped-def]
    """Return the histories as events in the contract's form."""
    import pandas as pd

    def moment(text: str | None) -> datetime | None:
        return None if text is None else PREDICTION_TIME + offset(text)

    rows = [
        {
            "subject_id": person,
            "time": moment(row.at),
            "known_time": moment(row.known or row.at),
            "end_time": moment(row.until),
            "code": row.code,
            "numeric_value": row.value,
            "unit": row.unit,
            "text_value": row.text,
        }
        for person, case in enumerate(cases)
        for row in case.history
    ]
    table = pd.DataFrame(rows)
    for column in ("time", "known_time", "end_time"):
        table[column] = pd.to_datetime(table[column])
    table["numeric_value"] = table["numeric_value"].astype(float)
    return table
