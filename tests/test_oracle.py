"""Every feature of the catalogue, on histories full of edges, against the plain builder."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magml.clock import seconds
from magml.definitions import read_catalogue
from magml.definitions.catalogue import STATISTICS, Catalogue, Concept, DomainFile
from magml.definitions.dose import Dose, Drug
from magml.events import read_events, read_prediction_times
from magml.features import Plan, build_matrix, compile_plan
from magml.features.aggregate import Turn
from magml.features.arrow import to_arrow, to_numpy
from magml.features.names import NAME_VOCABULARY, matches
from magml.features.ranges import Rows
from magml.units import convertible
from tests import oracle
from tests.oracle import Event

T = datetime(2024, 3, 10, 8, 0)
TIMES = (T, T + timedelta(hours=6), T + timedelta(days=5))
SUBJECTS = (-7, 1, 2, 9_007_199_254_740_993)
MICRO = timedelta(microseconds=1)
#: Statistics without floating sums: equal to the last bit of the float32 column.
EXACT = {"last", "first", "min", "max", "count", "hours_since", "active", "present"}
EXACT |= {"eras", "days", "hours_since_start", "hours_since_stop", "days_since", "years"}
UNITS = ("mg/dL", "mmol/L", "umol/L", "g/dL", "g/L", "ug/L", "meq/L", "[degF]", "kPa")


def strange_concepts() -> DomainFile:
    """Concepts that the real catalogue need not hold: every statistic in every kind of window."""
    everything = STATISTICS["measurement"]
    return DomainFile(
        domain="microbiome",
        concepts={
            "all": Concept(
                label="All statistics",
                kind="measurement",
                codes=("LAB//all", "LAB//also all"),
                unit="mg/dL",
                plausible=(0.0, 50.0),
                features=dict.fromkeys(
                    ("ever", "6h", "24h", "7d", "365d"), (*everything, "hours_since")
                ),
            ),
            "recent": Concept(
                label="No whole history",
                kind="measurement",
                codes=("LAB//recent",),
                unit="1",
                features=dict.fromkeys(("45min", "7d"), everything),
            ),
            "drug": Concept(
                label="Exposure in every window",
                kind="exposure",
                codes=("DRUG//everywhere", "RxNorm//1"),
                features={
                    "now": ("active", "hours_since_start", "hours_since_stop"),
                    **dict.fromkeys(("ever", "6h", "24h", "7d", "30d", "90d", "365d"), ("days",)),
                },
            ),
            "bridged": Concept(
                label="Eras with a gap, single doses that last, doses of two drugs",
                kind="exposure",
                codes=("DRUG//one", "DRUG//two", "DRUG//neither"),
                gap="31h",
                lasts="3h",
                dose=Dose(
                    unit="mg",
                    molar_mass=24.305,
                    valence=2,
                    drugs={
                        "one": Drug(codes=("DRUG//one",), share=0.6),
                        "two": Drug(codes=("DRUG//two",)),
                    },
                ),
                features={
                    "now": ("active", "hours_since_start", "hours_since_stop", "daily_dose"),
                    "ever": ("days", "eras", "count", "dose"),
                    **dict.fromkeys(
                        ("6h", "24h", "7d", "90d"), ("days", "share", "eras", "count", "dose")
                    ),
                },
            ),
            "units": Concept(
                label="Defined daily doses of scheduled orders outside",
                kind="exposure",
                names=("drug",),
                codes=("DRUG//three",),
                orders=("scheduled", "outpatient"),
                dose=Dose(unit="DDD", drugs={"three": Drug(codes=("DRUG//three",), ddd="40 mg")}),
                features={"now": ("active", "daily_dose"), "30d": ("dose", "count")},
            ),
            "diagnosis": Concept(
                label="Condition in every window",
                kind="condition",
                codes=("ICD10CM//A00", "ICD10CM//A00.1"),
                features=dict.fromkeys(
                    ("ever", "24h", "30d", "365d"), ("present", "count", "days_since")
                ),
            ),
        },
    )


@lru_cache(maxsize=1)
def the_catalogue() -> Catalogue:
    real = read_catalogue()
    return Catalogue(
        domains=(*(f for f in real.domains if f.domain != "microbiome"), strange_concepts()),
        references=real.references,
    )


@cache
def codes_of(name: str) -> list[str]:
    """Return codes that map to a concept, as sources write them."""
    concept = the_catalogue().by_name[name]
    prefix = {str(k): v for k, v in NAME_VOCABULARY.items()}.get(name.split(".")[0], "CARE")
    given = [*concept.values, *concept.codes, *(f"{prefix}//{n}" for n in concept.names)]
    behind = "".join(f"//{order}" for order in concept.orders if order != "scheduled")
    codes = [c + behind for c in given if name in matches(the_catalogue(), c + behind)]
    assert codes, f"no code of {name} maps to it"
    return codes[:3]


class Draw:
    """Random choices of an event's parts; the edges are as likely as all else together."""

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose

    def time(self, t: datetime, concept: Concept) -> datetime | None:
        pick = self.choose.random()
        if pick < 0.06:
            return None
        if pick < 0.16:
            return t
        # A slope over a microsecond has no digits left to compare.
        step = timedelta(seconds=1) if concept.kind == "measurement" else MICRO
        if pick < 0.24:
            return t - step
        if pick < 0.30:
            return t + step
        if pick < 0.50:
            windows = [w for w in concept.features if w not in ("ever", "now")] or ["24h"]
            bound = t - timedelta(seconds=seconds(self.choose.choice(windows)))
            return bound + self.choose.choice([-1, 0, 0, 1]) * timedelta(minutes=1)
        if pick < 0.75:  # few different moments, so that several rows share one
            return t - timedelta(hours=self.choose.choice([1, 2, 5, 30, 60]))
        return t - timedelta(minutes=self.choose.randrange(-6000, 700_000))

    def known(self, t: datetime, time: datetime | None) -> datetime | None:
        pick = self.choose.random()
        if pick < 0.35:
            return None
        if pick < 0.45:
            return t
        if pick < 0.55:
            return t - MICRO
        base = time or t
        return base + timedelta(minutes=self.choose.choice([-600, -5, 0, 0, 1, 45, 61, 3000]))

    def end(self, t: datetime, time: datetime | None) -> datetime | None:
        pick = self.choose.random()
        if pick < 0.3:
            return None
        if pick < 0.45:
            return t + self.choose.choice([-1, 0, 1]) * MICRO
        base = time or t
        return base + timedelta(hours=self.choose.choice([-3, 0, 1, 2, 4, 25, 59, 700, 9000]))

    def value(self, concept: Concept) -> float | None:
        low, high = concept.plausible or (0.0, 100.0)
        middle = (low + high) / 2
        return self.choose.choice(
            [low, high, low - 1, high * 1.01 + 1, middle, middle, 0.37 * low + 0.63 * high]
            + [self.choose.uniform(low, high) for _ in range(4)]
            + [None, math.nan, math.inf, 1.7, 2.4]
        )

    def unit(self, concept: Concept) -> str | None:
        other = [unit for unit in UNITS if convertible(unit, concept)]
        pick = self.choose.random()
        if pick < 0.06:
            return self.choose.choice(["cubits per fortnight", None, ""])
        return concept.unit if pick < 0.7 or not other else self.choose.choice(other)

    def dose(self) -> tuple[float | None, str | None]:
        """Return a dose as records hold it: totals, rates, and numbers that are none."""
        values = [None, 0.0, -3.0, math.nan, math.inf, 40.0, 400.0, 1.5, 0.25]
        units = ["mg", "mg", "g", "mg/h", "mg/day", "mcg/min", "meq", "tab", "mg/kg", None, ""]
        return self.choose.choice(values), self.choose.choice(units)

    def event(self, name: str, subject: int) -> Event:
        concept = the_catalogue().by_name[name]
        t = self.choose.choice(TIMES)
        time = self.time(t, concept)
        value, unit = self.dose() if concept.dose is not None else (None, None)
        if concept.kind == "measurement":
            value, unit = self.value(concept), self.unit(concept)
        return Event(
            subject=subject,
            time=time,
            code=self.choose.choice(codes_of(name)),
            value=value,
            unit=unit,
            known=self.known(t, time),
            end=self.end(t, time) if concept.kind == "exposure" else None,
        )


def by_sql(plan: Plan, rows: Rows, subject_id: np.ndarray, t_us: np.ndarray) -> Iterator[Turn]:
    """Aggregate with the plan's SQL, as an engine other than the embedded one does."""
    connection = duckdb.connect()
    columns = {field.name: getattr(rows, field.name) for field in fields(Rows)}
    # Marking every row as repeated is always right, only slower.
    connection.register("rows", to_arrow({**columns, "repeated": np.ones(len(rows), dtype=bool)}))
    times = {"row_id": np.arange(len(t_us)), "subject_id": subject_id}
    connection.register("times", to_arrow({**times, "prediction_time": t_us.view("M8[us]")}))
    names = {"mapped": "rows", "prediction_times": "times"}
    results = []
    for part in ("points", "exposures", "doses"):
        found = connection.sql(plan.statement("duckdb", part, names)).to_arrow_table()
        order = np.argsort(to_numpy(found["row_id"]), kind="stable")
        results.append({name: to_numpy(found[name])[order] for name in found.column_names})
    yield Turn(range(len(t_us)), results[0], results[1], results[2])


def as_given(table: pa.Table) -> pa.Table | Path:
    return table


def compare(events: list[Event], threads: int = 1) -> None:
    """Build with the engine and with the oracle, and compare every feature of every row."""
    catalogue = the_catalogue()
    at = [(subject, t) for subject in SUBJECTS for t in TIMES]
    stamp, text = pa.timestamp("us"), pa.string()
    table = pa.table(
        {
            "subject_id": pa.array([e.subject for e in events], pa.int64()),
            "time": pa.array([e.time for e in events], stamp),
            "code": pa.array([e.code for e in events], text),
            "numeric_value": pa.array([e.value for e in events], pa.float64()),
            "unit": pa.array([e.unit for e in events], text),
            "known_time": pa.array([e.known for e in events], stamp),
            "end_time": pa.array([e.end for e in events], stamp),
        }
    )
    read = read_events(as_given(table))
    asked = pa.table({"subject_id": [s for s, _ in at], "prediction_time": [t for _, t in at]})
    relation = read_prediction_times(asked, read.connection, read)
    plan = compile_plan(catalogue)
    matrix = build_matrix(plan, read, relation, threads=threads, strict=False)
    known = oracle.facts(catalogue, events)
    wrong = []
    for row, (subject, t) in enumerate(at):
        expected = oracle.features(catalogue, known, subject, t)
        assert set(expected) == set(plan.features)
        for column, name in enumerate(plan.features):
            got, want = matrix.values[row, column], np.float32(expected[name])
            feature = catalogue.features[name]
            if not feature.derived and feature.statistic in EXACT:
                same = got == want or (np.isnan(got) and np.isnan(want))
            else:
                same = np.isclose(got, want, rtol=1e-6, atol=1e-9, equal_nan=True)
            if not same:
                wrong.append(f"{name} of {subject} at {t}: engine {got}, oracle {want}")
        own = [e for e in events if e.subject == subject]
        seen = any((e.known or e.time or datetime.min) < t for e in own)
        assert matrix.empty[row] == (not seen)
    assert not wrong, "\n".join(wrong[:20])


@pytest.fixture(params=["numpy", "sql", "file"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def written(table: pa.Table) -> Path:
        pq.write_table(table, tmp_path / "events.parquet", row_group_size=100)
        return tmp_path / "events.parquet"

    if request.param == "sql":
        monkeypatch.setattr("magml.features.filling.aggregate", by_sql)
    elif request.param == "file":
        monkeypatch.setattr("tests.test_oracle.as_given", written)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("seed", range(int(os.environ.get("MAGML_ORACLE_SEEDS", "2"))))
def test_every_feature_equals_the_oracle(seed: int) -> None:
    draw = Draw(random.Random(seed))
    strange = [name for name in the_catalogue().by_name if name.startswith("microbiome.")]
    names = [*the_catalogue().by_name, *strange * 5]
    events = [
        draw.event(name, subject)
        for name in names
        for subject in SUBJECTS[:-1]
        for _ in range(draw.choose.choice([0, 1, 2, 5, 9]))
    ]
    draw.choose.shuffle(events)
    compare(events)


@pytest.mark.usefixtures("engine")
@settings(
    max_examples=int(os.environ.get("MAGML_ORACLE_EXAMPLES", "25")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_small_histories_equal_the_oracle(data: st.DataObject) -> None:
    names = data.draw(
        st.lists(
            st.sampled_from(list(the_catalogue().by_name)), min_size=1, max_size=3, unique=True
        )
    )
    names.append(
        data.draw(st.sampled_from([f"microbiome.{k}" for k in strange_concepts().concepts]))
    )
    draw = Draw(data.draw(st.randoms(use_true_random=False)))
    plan = data.draw(
        st.lists(st.tuples(st.sampled_from(names), st.sampled_from(SUBJECTS[:3])), max_size=25)
    )
    compare([draw.event(name, subject) for name, subject in plan])
