"""Recalibration: the boosters stay, the map from their log-odds to a risk is updated."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.bundle.manifest import read_verified, write_manifest
from magml.errors import BundleError, CohortError, InputError
from magml.files import atomic_directory, pretty_json
from magml.models.calibration import Calibrator, fit_calibrator, log_loss_of
from magml.validation.rows import scored_rows

if TYPE_CHECKING:
    from magml.bundle import Model
    from magml.evaluation import Performance

Method = Literal["closed_test", "intercept", "slope", "flexible"]
Chosen = Literal["none", "intercept", "slope", "flexible"]
METHODS: tuple[Method, ...] = ("closed_test", "intercept", "slope", "flexible")
#: Parameters that each update estimates.
_PARAMETERS: dict[Chosen, int] = {"none": 0, "intercept": 1, "slope": 2, "flexible": 3}
_LEVEL = 0.05
#: Fewer of either kind, and an update would be noise; fewer than the second number, uncertain.
MINIMUM, COMFORTABLE = 20, 100


@dataclass(frozen=True, eq=False)
class Recalibration:
    """An update of a model's calibration.

    Attributes
    ----------
    method
        What was done: ``none``, ``intercept``, ``slope`` (intercept and slope) or ``flexible``.
    asked
        What was asked for.
    calibrator
        The new map.
    n, events, people
        Rows, cases and people it was fitted on.
    performance
        ``before`` and ``after``, the latter by cross-fitting over people: no row is judged by an
        update that saw its person.
    parent, bundle
        Hash of the bundle updated, and of the new one; None when nothing was written.
    folder
        The new bundle; None when nothing was written.
    """

    method: Chosen
    asked: Method
    calibrator: Calibrator
    n: int
    events: int
    people: int
    performance: Performance
    parent: str
    bundle: str | None = None
    folder: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the update as plain values, without any person's row."""
        return {
            "method": self.method,
            "asked": self.asked,
            "calibrator": self.calibrator.to_dict(),
            "n": self.n,
            "events": self.events,
            "people": self.people,
            "performance": self.performance.to_dict(),
            "parent": self.parent,
            "bundle": self.bundle,
            "folder": None if self.folder is None else str(self.folder),
        }

    def summary(self) -> str:
        """Return the update as lines for a terminal."""
        lines = [
            f"update: {self.method} (asked: {self.asked}), fitted on {self.n} prediction times of "
            f"{self.people} people, {self.events} cases",
            f"{'':24}{'before':30}{'after, cross-fitted':30}",
        ]
        for metric in ("log_loss", "calibration_intercept", "calibration_slope", "auroc"):
            cells = ""
            for name in ("before", "after"):
                value, low, high = self.performance.value(metric, name)
                cells += f"{f'{value:.3f} ({low:.3f} to {high:.3f})':30}"
            lines.append(f"{metric:24}{cells}")
        if self.events < COMFORTABLE:
            lines.append(f"Note: {self.events} cases are few; {COMFORTABLE} or more are advised")
        lines.append(f"bundle {self.folder}" if self.folder else "no bundle written")
        return "\n".join(lines)


def recalibrate(
    model: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    method: Method = "closed_test",
    events: Any = None,
    labels: Any = None,
    experiment: str | Path | None = None,
    data: Any = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Recalibration:
    """Fit a bundle's calibration to labelled rows of an institution; the old bundle is kept.

    Parameters
    ----------
    model
        The bundle's folder, or the name of a bundle that comes with magml.
    out
        Folder of the new bundle; by default nothing is written.
    method
        ``intercept`` shifts the log-odds, ``slope`` shifts and stretches them, ``flexible`` fits
        beta calibration anew, and ``closed_test`` takes the simplest of these, and none at all
        among them, that the data do not reject against the flexible one.
    events, labels, experiment, data
        The rows, as for `magml.validate`.
    replicates, seed
        Bootstrap resamples of people for the intervals, and the seed of these and of the folds.

    Returns
    -------
    Recalibration

    Raises
    ------
    InputError
        If the method is unknown or `out` is the bundle itself.
    CohortError
        If there are fewer than 20 cases or 20 others.

    References
    ----------
    Vergouwe Y et al. Stat Med 2017;36:4529-39 (the closed test); Kull M et al. Electron J Stat
    2017;11:5052-80 (beta calibration).

    Examples
    --------
    >>> recalibrate("bundle", out="ours", events="events.parquet",      # doctest: +SKIP
    ...             labels="labels.csv").method
    """
    from magml.bundle import load
    from magml.bundle.shipped import bundle_folder
    from magml.evaluation import evaluate
    from magml.models.splits import inner_folds

    if method not in METHODS:
        raise InputError(f"the method {method!r}", f"one of {', '.join(METHODS)}", "correct it")
    source = bundle_folder(model)
    if out is not None and Path(out).resolve() == source.resolve():
        raise InputError(
            "a new bundle in the place of the old one",
            "another folder, because the old version is kept",
            "choose another --out",
        )
    loaded = load(source)
    scored = scored_rows(
        loaded,
        events=events,
        labels=labels,
        experiment=experiment,
        data=data,
        minimum_cases=MINIMUM,
    )
    margin, y, person = scored.margin, scored.labels, scored.persons
    chosen, fitted = update(loaded.calibrator, margin, y, method)
    after = np.empty(len(y))
    fold = inner_folds(y, person, 10, seed)
    for number in range(int(fold.max()) + 1):
        test = fold == number
        _, part = update(loaded.calibrator, margin[~test], y[~test], method)
        after[test] = part.risk(margin[test])
    performance = evaluate(
        y,
        {"after": after, "before": scored.risk},
        groups=person,
        replicates=replicates,
        seed=seed,
    )
    found = Recalibration(
        method=chosen,
        asked=method,
        calibrator=fitted,
        n=len(y),
        events=int(y.sum()),
        people=len(np.unique(person)),
        performance=performance,
        parent=loaded.hash,
    )
    if out is None:
        return found
    hashed = _write(source, Path(out), loaded, found)
    return Recalibration(**{**vars(found), "bundle": hashed, "folder": Path(out)})


def update(
    calibrator: Calibrator, margin: ArrayLike, y: ArrayLike, method: Method
) -> tuple[Chosen, Calibrator]:
    """Return what was done and the new calibrator.

    Parameters
    ----------
    calibrator
        The calibrator in use.
    margin
        Log-odds of the model before calibration, shape (n,).
    y
        Outcome, 0 or 1, shape (n,).
    method
        As for `recalibrate`.

    Examples
    --------
    Risks of one half where a fifth have the outcome: the log-odds fall by ln 4.

    >>> old = Calibrator("logistic", 0.0, 1.0, 1.0)
    >>> done, new = update(old, [0.0] * 100, [1] * 20 + [0] * 80, "intercept")
    >>> done, round(new.intercept, 4)
    ('intercept', -1.3863)
    """
    odds = calibrator.log_odds(margin)
    outcome = np.asarray(y, dtype=np.float64)
    if method == "closed_test":
        from scipy.stats import chi2

        full = fit_calibrator(margin, outcome, ["beta"])
        best = _deviance(full, margin, outcome)
        for simpler in ("none", "intercept", "slope"):
            candidate = _fitted(simpler, calibrator, margin, odds, outcome)
            free = _PARAMETERS["flexible"] - _PARAMETERS[simpler]
            if chi2.sf(_deviance(candidate, margin, outcome) - best, free) >= _LEVEL:
                return simpler, candidate
        return "flexible", full
    return method, _fitted(method, calibrator, margin, odds, outcome)


def _fitted(
    method: Chosen,
    old: Calibrator,
    margin: ArrayLike,
    odds: NDArray[np.float64],
    y: NDArray[np.float64],
) -> Calibrator:
    if method == "none":
        return old
    if method == "flexible":
        return fit_calibrator(margin, y, ["beta"])
    if method == "intercept":
        shift, slope = _shift(odds, y), 1.0
    else:
        line = fit_calibrator(odds, y, ["logistic"])
        shift, slope = line.intercept, line.low
    return Calibrator(old.method, shift + slope * old.intercept, slope * old.low, slope * old.high)


def _shift(odds: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the constant that makes the expected number of cases the observed one."""
    from scipy.optimize import brentq
    from scipy.special import expit

    cases = y.sum()
    if not 0 < cases < len(y):
        raise CohortError("rows of one class only", "cases and others", "widen the cohort")
    reach = 40.0 + float(np.abs(odds).max())
    return float(brentq(lambda shift: expit(odds + shift).sum() - cases, -reach, reach, xtol=1e-12))


def _deviance(calibrator: Calibrator, margin: ArrayLike, y: NDArray[np.float64]) -> float:
    return 2 * len(y) * log_loss_of(calibrator.log_odds(margin), y)


def _write(source: Path, target: Path, model: Model, found: Recalibration) -> str:
    """Write the bundle with its new calibration and where it came from; return its hash."""
    if target.exists():
        raise BundleError(
            f"'{target.name}' exists", "a new folder", "choose another folder for the bundle"
        )
    files = dict(read_verified(source).files)
    training = json.loads(files["training.json"])
    card = json.loads(files["card.json"])
    entry = {
        "parent": found.parent,
        "method": found.method,
        "asked": found.asked,
        "n": found.n,
        "events": found.events,
        "people": found.people,
        "before": _figures(found.performance, "before"),
        "after": _figures(found.performance, "after"),
    }
    training["recalibrations"] = [*training.get("recalibrations", []), entry]
    card["recalibrations"] = training["recalibrations"]
    start = json.loads(files["explanations.json"])
    start["base_risk"] = float(found.calibrator.risk(start["base"]))
    changed = {
        "calibrator.json": found.calibrator.to_dict(),
        "explanations.json": start,
        "training.json": training,
        "card.json": card,
    }
    files |= {name: pretty_json(value).encode() for name, value in changed.items()}
    files["card.md"] += _section(entry).encode()
    with atomic_directory(target) as beside:
        for name, content in files.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_bytes(content)
        return write_manifest(beside)


def _figures(performance: Performance, model: str) -> dict[str, list[float]]:
    shown = ("log_loss", "calibration_intercept", "calibration_slope")
    return {metric: list(performance.value(metric, model)) for metric in shown}


def _section(entry: dict[str, Any]) -> str:
    """Return what the card says of a recalibration."""
    rows = "\n".join(
        f"| {metric.replace('_', ' ')} | "
        + " | ".join("{:.3f} ({:.3f} to {:.3f})".format(*entry[kind][metric]) for kind in
                     ("before", "after"))
        + " |"
        for metric in entry["before"]
    )  # fmt: skip
    return (
        f"\n## Recalibrated\n\nFrom the bundle `{entry['parent'][:12]}` by the update "
        f"*{entry['method']}*, on {entry['n']} prediction times of {entry['people']} people with "
        f"{entry['events']} cases. The boosters and the figures above are those of the first "
        "training; after is cross-fitted over people.\n\n"
        f"| | before | after |\n|---|---|---|\n{rows}\n"
    )
