"""What may leave a hospital: counts and curves, small cells suppressed."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.files import atomic_file, pretty_json

if TYPE_CHECKING:
    from magml.validation.validate import Validation

FORMAT = "magml aggregate 1"
#: A count from 1 to one below this is not exported.
SMALL = 10


def export_aggregate(
    validation: Validation | str | os.PathLike[str], out: str | os.PathLike[str] | None = None
) -> dict[str, Any]:
    """Return a validation as counts and curves that hold nobody's row, cells under 10 suppressed.

    A subgroup is left out when it has fewer than ten cases or ten others; where just one of a
    dimension is, the next smallest goes with it, or the first could be had by subtraction. A
    calibration group leaves when it has fewer than ten cases or ten others, and again with the
    next smallest.

    Parameters
    ----------
    validation
        What `magml.validate` returned, or the folder it wrote.
    out
        JSON file to write.

    Returns
    -------
    dict
        ``format``, ``model``, ``bundle``, ``n``, ``events``, ``metrics``, ``net_benefit``,
        ``calibration``, ``subgroups``, ``attrition``, ``predictors``, ``suppressed``.

    Raises
    ------
    InputError
        If the folder holds no validation, or the whole has fewer than ten cases or others.
    """
    found = _read(Path(validation)) if isinstance(validation, str | os.PathLike) else (
        validation.to_dict()
    )  # fmt: skip
    performance = found["performance"]
    n, events = int(performance["n"]), int(performance["events"])
    if min(events, n - events) < SMALL:
        raise InputError(
            "fewer than ten cases or ten others", "ten of each", "nothing of these can be exported"
        )
    groups, hidden_groups = _groups(performance["calibration"])
    subgroups, hidden = _subgroups(found["subgroups"], found["subgroups_suppressed"])
    export = {
        "format": FORMAT,
        "model": found["model"],
        "bundle": found["bundle"],
        "n": n,
        "events": events,
        "people": int(performance["groups"]),
        "metrics": performance["metrics"],
        "net_benefit": performance["net_benefit"],
        "calibration": groups,
        "subgroups": subgroups,
        "case_mix": found["case_mix"],
        "attrition": [_step(step) for step in found["attrition"]],
        "predictors": [_predictor(row, n) for row in found["predictors"]],
        "suppressed": {"calibration groups": hidden_groups, **hidden},
    }
    if out is not None:
        with atomic_file(out) as beside:
            beside.write_text(pretty_json(export), encoding="utf-8")
    return export


def _read(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / "validation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{folder.name}' holds no validation.json that reads",
            "the folder that magml validate --out wrote",
            "validate first",
        ) from error
    if not isinstance(value, dict) or "performance" not in value:
        raise InputError("validation.json is not that of a validation", "magml validate --out")
    return value


def _small(n: float, events: float) -> bool:
    return min(events, n - events) < SMALL


def _groups(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Return points of the curve and groups; groups that are small leave with a companion."""
    curve = [row for row in rows if row["kind"] == "curve"]
    groups = [row for row in rows if row["kind"] == "group"]
    hidden = {i for i, row in enumerate(groups) if _small(row["n"], row["events"])}
    _companion(hidden, [row["n"] for row in groups])
    return curve + [row for i, row in enumerate(groups) if i not in hidden], len(hidden)


def _subgroups(
    rows: list[dict[str, Any]], suppressed: dict[str, int]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return subgroups without any that could be had by subtraction."""
    sizes: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        sizes[row["dimension"]][row["subgroup"]] = int(row["n"])
    hidden = {name: int(count) for name, count in suppressed.items()}
    gone = set()
    for dimension, counts in sizes.items():
        if hidden.get(dimension, 0) == 1:
            smallest = min(counts, key=lambda name: (counts[name], name))
            gone.add((dimension, smallest))
            hidden[dimension] += 1
    return [row for row in rows if (row["dimension"], row["subgroup"]) not in gone], hidden


def _companion(hidden: set[int], sizes: list[float]) -> None:
    """Hide the next smallest where one alone is hidden."""
    if len(hidden) == 1:
        others = [i for i in range(len(sizes)) if i not in hidden]
        if others:
            hidden.add(min(others, key=lambda i: (sizes[i], i)))


def _count(value: int) -> int | None:
    """Return a count, None where it is small; nobody at all is no secret."""
    return None if 0 < value < SMALL else int(value)


def _step(step: dict[str, Any]) -> dict[str, Any]:
    """Return a step of the cohort; who is left is only said where who left may be."""
    hidden = _count(step["left_out"]) is None
    return {
        "name": step["name"],
        "reason": step.get("reason", ""),
        "people": None if hidden else _count(step["people"]),
        "times": None if hidden else _count(step["times"]),
        "left_out": _count(step["left_out"]),
    }


def _predictor(row: dict[str, Any], n: int) -> dict[str, Any]:
    """Return how often a predictor is known; both it and its complement must not be small."""
    known = int(row["known"])
    shown = _count(known) is not None and _count(n - known) is not None
    return {"feature": row["feature"], "known": known if shown else None}
