"""A hospital month by month for the tests of monitoring, with drifts planted by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from magml.bundle import Model
from magml.bundle.write import BundleContents
from magml.definitions.catalogue import Catalogue
from magml.events import read_events, read_prediction_times
from magml.features import build_matrix, compile_plan
from magml.monitoring.baseline import training_baseline
from tests import bundle_parts as parts

SITES = ("north", "south", "west", "east")
START = pd.Timestamp(2025, 1, 1)


@dataclass(frozen=True)
class World:
    """Events, prediction times, and labels drawn from the model's own risks."""

    events: pd.DataFrame
    at: pd.DataFrame


def world(people: int, months: int, seed: int, drift: str = "", start: int = 0) -> World:
    """Return `people` new people a month; a drift begins with the third month, at one site or all.

    Drifts: ``unit`` (potassium in mg/dL labelled mmol/L in the north), ``code`` (albumin under an
    unmapped code in the south), ``missing`` (half of the potassium values are gone), ``sicker``
    (potassium and albumin lower).
    """
    rng = np.random.default_rng(seed)
    rows, at = [], []
    number = 1_000_000 * seed
    for month in range(months):
        first = START + pd.DateOffset(months=start + month)
        planted = drift if month >= 2 else ""
        for _ in range(people):
            number += 1
            site = SITES[rng.integers(len(SITES))]
            moment = first + pd.Timedelta(minutes=int(rng.integers(27 * 1440)) + 360)
            at.append((number, moment))
            born = moment - pd.Timedelta(days=365.25 * rng.uniform(20, 90))
            rows += [
                (number, born, "MEDS_BIRTH", None, None),
                (number, None, f"SITE//{site}", None, None),
            ]
            lower = 0.5 if planted == "sicker" else 0.0
            for hours in (1, 3)[: rng.integers(1, 3)]:
                value = rng.normal(4.0 - lower, 0.5)
                if planted == "unit" and site == "north":
                    value *= 39.0983 / 10
                if planted == "missing" and rng.random() < 0.5:
                    continue
                rows.append(
                    (number, moment - pd.Timedelta(hours=hours), "LOINC//2823-3", value, "mmol/L")
                )
            if rng.random() < 0.8:
                code = (
                    "LOINC//61151-7" if planted == "code" and site == "south" else "LOINC//1751-7"
                )
                value = rng.normal(36 - 8 * lower, 5)
                rows.append((number, moment - pd.Timedelta(hours=2), code, value, "g/L"))
            if rng.random() < 0.3:
                rows.append((number, moment - pd.Timedelta(days=2), "ATC//C03CA01", None, None))
    columns = ["subject_id", "time", "code", "numeric_value", "unit"]
    return World(
        pd.DataFrame(rows, columns=columns),
        pd.DataFrame(at, columns=["subject_id", "prediction_time"]),
    )


def outcomes(model: Model, found: World, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Return labels drawn from the model's risks, their log-odds raised by `shift`."""
    risk = model.score(found.events, found.at)["risk"].to_numpy()
    odds = np.log(risk / (1 - risk)) + shift
    drawn = np.random.default_rng(seed).random(len(risk)) < 1 / (1 + np.exp(-odds))
    return found.at.assign(boolean_value=drawn)


def contents_with_baseline(people: int = 3000) -> BundleContents:
    """Return the small model's bundle with what a training writes for monitoring."""
    plain = parts.contents()
    catalogue = _with_usual(plain.catalogue)
    plan = compile_plan(catalogue, plain.plan.features)
    plain = replace(plain, catalogue=catalogue, plan=plan)
    found = world(people, 1, seed=99)
    events = read_events(found.events)
    relation = read_prediction_times(found.at, events.connection, events)
    matrix = build_matrix(plain.plan, events, relation)
    place = [matrix.names.index(name) for name in plain.bag.features]
    values = np.ascontiguousarray(matrix.values[:, place])
    risk = plain.calibrator.risk(plain.bag.margin(values))
    stored = training_baseline(
        plain.plan,
        events,
        relation,
        values,
        plain.bag.features,
        matrix.subject_id,
        risk,
        plain.definition.bands,
    )
    return replace(plain, training=replace(plain.training, monitoring=stored))


def _with_usual(catalogue: Catalogue) -> Catalogue:
    """Return the small catalogue with where medians usually lie, as the shipped one states it."""
    content = catalogue.model_dump(mode="json")
    usual = {"potassium": [[3.3, 5.2], [0, 1.4]], "albumin": [[22, 45], [0, 20]]}
    for domain in content["domains"]:
        for name, concept in domain["concepts"].items():
            if name in usual:
                median, iqr = usual[name]
                concept["usual"] = {"median": median, "iqr": iqr}
    return Catalogue.model_validate(content)
