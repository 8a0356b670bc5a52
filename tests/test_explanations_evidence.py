"""Every feature of the catalogue comes out again from the rows shown as its evidence alone."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from magml.definitions.catalogue import STATISTICS
from magml.events import Events, read_events, read_prediction_times
from magml.features import FeatureMatrix, Plan, build_matrix, compile_plan, find_evidence
from magml.features.evidence import EvidenceRow
from tests.evidence_parts import equal, recompute
from tests.oracle import Event
from tests.test_oracle import SUBJECTS, TIMES, Draw, the_catalogue

DAY = timedelta(days=1)
ASKED = [(subject, t) for subject in SUBJECTS[:3] for t in TIMES[:2]]


@pytest.fixture(scope="module")
def world() -> tuple[Events, Plan, FeatureMatrix]:
    """Histories full of edges, with records of every concept of the catalogue."""
    catalogue, draw = the_catalogue(), Draw(random.Random(20))
    events = [
        draw.event(name, subject)
        for name in catalogue.by_name
        for subject in SUBJECTS[:3]
        for _ in range(40 if name == "microbiome.all" else draw.choose.choice([0, 1, 2, 5]))
    ]
    # Many courses seldom leave nobody without one: one person's have all ended.
    ended, (subject, t) = "DRUG//everywhere", ASKED[0]
    events = [e for e in events if e.subject != subject or e.code not in (ended, "RxNorm//1")]
    events.append(Event(subject, t - 30 * DAY, ended, end=t - 20 * DAY))
    moment = pa.timestamp("us")
    table = pa.table(
        {
            "subject_id": pa.array([e.subject for e in events], pa.int64()),
            "time": pa.array([e.time for e in events], moment),
            "code": pa.array([e.code for e in events], pa.string()),
            "numeric_value": pa.array([e.value for e in events], pa.float64()),
            "unit": pa.array([e.unit for e in events], pa.string()),
            "known_time": pa.array([e.known for e in events], moment),
            "end_time": pa.array([e.end for e in events], moment),
        }
    )
    read = read_events(table)
    at = pa.table({"subject_id": [s for s, _ in ASKED], "prediction_time": [t for _, t in ASKED]})
    plan = compile_plan(catalogue)
    matrix = build_matrix(
        plan, read, read_prediction_times(at, read.connection, read), strict=False
    )
    return read, plan, matrix


def test_evidence_gives_back_every_feature(world: tuple[Events, Plan, FeatureMatrix]) -> None:
    read, plan, matrix = world
    catalogue = the_catalogue()
    requests = [(subject, t, plan.features) for subject, t in ASKED]
    checked: Counter[tuple[str, str]] = Counter()
    wrong = []
    for row, found in enumerate(find_evidence(plan, read, requests)):
        for column, name in enumerate(plan.features):
            value = float(matrix.values[row, column])
            again = recompute(catalogue, plan, found[name], ASKED[row][1], name)
            if not equal(again, value):
                wrong.append(f"{name}: {value} explained, {again} from {len(found[name])} rows")
            feature = catalogue.features[name]
            if found[name] and not np.isnan(value):
                kind = "derived" if feature.derived else catalogue.by_name[feature.concept].kind
                checked[kind, feature.statistic] += 1
    assert not wrong, f"{len(wrong)} wrong: " + "; ".join(wrong[:10])
    # Each statistic that exists was met with rows behind it and a value.
    asked = {(kind, one) for kind, known in STATISTICS.items() for one in known}
    assert not asked - set(checked), f"never met: {sorted(asked - set(checked))}"
    assert sum(checked.values()) > 1000


def test_a_row_too_few_would_be_seen(
    world: tuple[Events, Plan, FeatureMatrix],
) -> None:
    """Evidence with a row left out or altered does not give the value back."""
    read, plan, matrix = world
    name = "microbiome.all.mean"
    found: tuple[EvidenceRow, ...] = find_evidence(plan, read, [(*ASKED[0], [name])])[0][name]
    value = float(matrix.values[0, plan.features.index(name)])
    catalogue, t = the_catalogue(), ASKED[0][1]
    assert len(found) > 2
    assert equal(recompute(catalogue, plan, found, t, name), value)
    assert not equal(recompute(catalogue, plan, found[1:], t, name), value)
    later = (replace(found[0], known_time=t), *found[1:])
    assert not equal(recompute(catalogue, plan, later, t, name), value)
