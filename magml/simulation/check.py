"""Simulated against published: each experiment repeated in the simulator, with its tolerance.

The tolerance is the publication's own uncertainty (an interval, or what a sample of its size
allows), never what the simulator happens to give. A row that fails is shown as failing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.simulation.body import absorbed
from magml.simulation.cohorts import (
    Cohort,
    healthy_adults,
    high_risk_adults,
    outpatients,
    with_agent,
)
from magml.simulation.parameters import Parameters, read_parameters
from magml.simulation.people import Exposures, Floats, People
from magml.simulation.physiology import exchangeable, loading_test, simulate_physiology

#: Retention in percent above which a loading test speaks of depletion (Gullestad 1994).
DEPLETED = 27.5
#: Of one loading test: 8.1 between two, over the root of two (Gullestad 1994). Of one serum
#: value: within a person 2.5%, of the assay 2%, and of the bound 30% by albumin's spread of 7%.
_TEST_SD, _SERUM_CV = 8.1 / 2**0.5, (0.025**2 + 0.02**2 + (0.3 * 0.07) ** 2) ** 0.5
#: Within a person from day to day, of 24-h urine; food varies by about 40% (unverified).
_URINE_CV = 0.35
_MG = 24.305
_GULLESTAD = "Gullestad 1994, Scand J Clin Lab Invest 54:23-31"
_KIEBOOM_PPI = "Kieboom 2015, Am J Kidney Dis"
_KIEBOOM = "Kieboom 2018, Pharmacoepidemiol Drug Saf"
_FAN = "Fan 2021, J Nutr 151:2226-35"
_SHILS = "Shils 1964"


@dataclass(frozen=True)
class Row:
    """One experiment: what was published, what the simulator gives, and what is accepted."""

    name: str
    published: str
    simulated: float
    tolerance: tuple[float, float]
    passed: bool
    source: str


def check_simulator(
    seed: int = 0, *, n: int = 4000, parameters: Parameters | None = None
) -> list[Row]:
    """Repeat published experiments in the simulator.

    Parameters
    ----------
    seed
        Seed of the people; the parameters are the central ones unless given.
    n
        People of each cohort: many, so that what is compared is the simulator and not chance.
    parameters
        Parameters of another world, or changed ones.

    Returns
    -------
    list of Row
    """
    world = parameters or read_parameters()
    generator = np.random.default_rng(seed)
    rows: list[Row] = []
    for experiment in _EXPERIMENTS:
        for name, published, value, low, high, source in experiment(generator, world, n):
            passed = bool(low <= value <= high)
            rows.append(Row(name, published, float(value), (low, high), passed, source))
    return rows


def to_dict(rows: list[Row]) -> dict[str, Any]:
    """Return rows as one JSON-safe object."""
    plain = [
        {**asdict(row), "tolerance": list(row.tolerance),
         "simulated": row.simulated if np.isfinite(row.simulated) else None}
        for row in rows
    ]  # fmt: skip
    return {"rows": plain, "passed": sum(row.passed for row in rows), "total": len(rows)}


def to_text(rows: list[Row]) -> str:
    """Return rows as a table for a terminal."""
    width = max(len(row.name) for row in rows)
    lines = [f"{'':5}{'':{width}}  {'simulated':>10}  accepted            published"]
    for row in rows:
        mark = "ok   " if row.passed else "FAIL "
        accepted = f"{row.tolerance[0]:g} to {row.tolerance[1]:g}"
        lines.append(
            f"{mark}{row.name:{width}}  {row.simulated:10.3g}  {accepted:18}  {row.published}"
            f" ({row.source})"
        )
    lines.append(f"{sum(row.passed for row in rows)} of {len(rows)} within their tolerance")
    return "\n".join(lines)


Found = Iterator[tuple[str, str, float, float, float, str]]


def _measured(rng: np.random.Generator, serum: Floats) -> Floats:
    return serum * np.exp(rng.normal(0, _SERUM_CV, len(serum)))


def _tested(rng: np.random.Generator, retention: Floats) -> Floats:
    return 100 * retention + rng.normal(0, _TEST_SD, len(retention))


def _loading(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    cohort = healthy_adults(rng, world, n)
    state = simulate_physiology(cohort.people, cohort.exposures, world, 2).last
    retention = _tested(rng, loading_test(state, cohort.people, world))
    serum = _measured(rng, state.serum)
    yield "retention of a load, healthy, mean %", "6.3", retention.mean(), 4.1, 8.5, _GULLESTAD
    yield "retention, SD %", "10.3", retention.std(ddof=1), 9.0, 12.1, _GULLESTAD
    top = float(np.percentile(retention, 97.5))
    yield "retention, 97.5th percentile %", "27.5", top, 21.8, 33.2, _GULLESTAD
    bottom = float(np.percentile(retention, 2.5))
    yield "retention, 2.5th percentile %", "-19.5", bottom, -25.2, -13.8, _GULLESTAD
    r = float(np.corrcoef(retention, serum)[0, 1])
    yield "correlation of retention with serum", "none, n = 88", r, -0.21, 0.21, _GULLESTAD
    basal = state.urine * np.exp(rng.normal(0, _URINE_CV, n))
    r = float(np.corrcoef(retention, basal)[0, 1])
    yield "correlation of retention with urine", "none, n = 88", r, -0.21, 0.21, _GULLESTAD


def _urine(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    cohort = healthy_adults(rng, world, n)
    state = simulate_physiology(cohort.people, cohort.exposures, world, 2).last
    intake, urine = cohort.people.intake * _MG, state.urine * _MG
    source = "Nielsen 2016, Magnes Res 29:154-60"
    high = float(np.median(urine[intake > 250]))
    low = float(np.median(urine[intake <= 250]))
    yield "24-h urine above 250 mg/day eaten, mg", "80 to 160", high, 80, 160, source
    yield "24-h urine below 250 mg/day eaten, mg", "40 to 80", low, 40, 80, source


def _population(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    cohort = outpatients(rng, world, 2 * n)
    state = simulate_physiology(cohort.people, cohort.exposures, world, 2).last
    serum = _measured(rng, state.serum)
    yield "serum, mean mmol/L", "0.85", serum.mean(), 0.82, 0.88, "population mean, unverified"
    yield "serum, SD mmol/L", "0.06 to 0.07", serum.std(), 0.055, 0.075, "unverified"
    low = 100 * float((serum < 0.75).mean())
    yield "serum below 0.75, adults %", "9.5 to 16.6", low, 7.0, 19.0, "Bertinato 2017 (CHMS)"
    published = (44.2, 35.8, 14.2, 4.7)
    scores = cohort.mds()
    for score, share in enumerate(published):
        found = 100 * float((scores == score).mean())
        yield (
            f"depletion score {score}, adults %", f"{share}", found, share - 5, share + 5,
            "NHANES 2003-2018 (J Clin Endocrinol Metab 2024)",
        )  # fmt: skip
    without = ~cohort.people.conditions["diabetes"]
    other = cohort.people.conditions | {"diabetes": np.zeros(cohort.people.n, bool)}
    spared = _replaced(cohort.people, other)
    calm = simulate_physiology(spared, cohort.exposures, world, 2).last
    change = float((state.serum - calm.serum)[~without].mean())
    source = "CHMS (PMC5372959), adjusted"
    yield "diabetes, change of serum mmol/L", "-0.04 to -0.07", change, -0.075, -0.025, source


def _replaced(people: People, conditions: dict[str, NDArray[np.bool_]]) -> People:
    from dataclasses import replace

    return replace(people, conditions=conditions)


def _fan(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    from sklearn.linear_model import LogisticRegression

    from magml.evaluation.discrimination import rank, tally

    n = 4 * n  # an area under the curve of few cases needs many people
    cohort = high_risk_adults(rng, world, 2 * n)
    people = cohort.people
    state = simulate_physiology(people, cohort.exposures, world, 2).last
    depleted = _tested(rng, loading_test(state, people, world)) > DEPLETED
    X = np.column_stack([cohort.mds(), people.age, people.female])
    half = n  # fitted on one half, measured on the other
    if min(len(set(depleted[:half])), len(set(depleted[half:]))) < 2:  # an absurd world
        yield "AUROC of depletion score, age, sex", "0.63", np.nan, 0.50, 0.76, _FAN
        yield "AUROC of serum alone, high risk", "0.53", np.nan, 0.40, 0.67, _FAN
        return
    fitted = LogisticRegression(C=1e6, max_iter=1000).fit(X[:half], depleted[:half])
    ones = np.ones((1, n))

    def area(risk: Floats) -> float:
        return float(tally(rank(depleted[half:], risk), ones).auroc()[0])

    score = area(fitted.predict_proba(X[half:])[:, 1])
    serum = area(-_measured(rng, state.serum)[half:])
    yield "AUROC of depletion score, age, sex", "0.63", score, 0.50, 0.76, _FAN
    yield "AUROC of serum alone, high risk", "0.53", serum, 0.40, 0.67, _FAN
    share = 100 * float((_measured(rng, state.serum)[depleted] >= 0.75).mean())
    source = "loading test in intensive care (bioline mr04006): 16 of 18"
    yield "normal serum among the depleted %", "89 (65 to 99)", share, 65, 99, source


def _depletion(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    cohort = healthy_adults(rng, world, max(n // 20, 50))
    starving = with_agent(cohort, "diet", 1, 400, 0.03)
    course = simulate_physiology(cohort.people, starving, world, 320)
    ratio = (course.serum / course.serum[0]).mean(axis=1)
    urine = (course.urine / course.urine[0]).mean(axis=1)
    yield "near-zero diet: urine after a week, ratio", "falls in days", urine[7], 0, 0.5, _SHILS
    yield "near-zero diet: serum after a month, ratio", "falls slowly", ratio[30], 0.7, 1, _SHILS
    low = float(ratio.min())
    yield "near-zero diet: serum's lowest, ratio", "0.25 to 0.33", low, 0.2, 0.45, _SHILS
    pools = exchangeable(course.last, cohort.people, world)
    start = exchangeable(
        simulate_physiology(cohort.people, cohort.exposures, world, 1).last, cohort.people, world
    )
    lost = float(((start.mobilisable - pools.mobilisable) / cohort.people.weight).mean())
    yield "mobilised in deficiency, mmol/kg", "1.7", lost, 1.3, 2.1, "Wallach 1988"


def _gut(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    one = np.ones(1)
    person = People(one, one > 0, one, one, one, one, one)
    for name, meal, published in (
        ("absorbed of the smallest meal, share", 1.5, 0.65),
        ("absorbed of the largest meal, share", 41.5, 0.11),
    ):
        share = float(absorbed(3 * meal * one, person, world, 1.0)[0] / (3 * meal))
        low, high = 0.85 * published, 1.15 * published
        yield name, f"{published}", share, low, high, "Fine 1991, J Clin Invest 88:396-402"


def _odds_ratio(with_: NDArray[np.bool_], without: NDArray[np.bool_]) -> float:
    a, b = with_.mean(), without.mean()
    return float(a / (1 - a) / (b / (1 - b))) if 0 < b < 1 and a < 1 else float("nan")


def _drugs(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    cohort = outpatients(rng, world, 2 * n)
    bare = _without(cohort, "ppi", "thiazide", "loop")
    people = cohort.people
    noise = np.exp(rng.normal(0, _SERUM_CV, people.n))

    def serum(*agents: str, days: int = 10_000) -> Floats:
        taken = Cohort(cohort.population, people, bare)
        for agent in agents:
            taken = Cohort(cohort.population, people, with_agent(taken, agent, -days, 10_000))
        first = -days if days < 10_000 else 0
        return simulate_physiology(
            people, taken.exposures, world, 2, first_day=first - 1
        ).last.serum

    none, low = serum(), 0.72
    ppi, brief, thiazide, loop = (
        serum("ppi"),
        serum("ppi", days=60),
        serum("thiazide"),
        serum("loop"),
    )
    both, sglt2, calcineurin = serum("ppi", "loop"), serum("sglt2"), serum("calcineurin")
    base = none * noise <= low
    change = float((ppi - none).mean())
    yield "PPI, change of serum mmol/L", "-0.011", change, -0.022, -0.003, _KIEBOOM_PPI
    ratio = _odds_ratio(ppi * noise <= low, base)
    yield "PPI, odds ratio of 0.72 or less", "2.00 (1.36 to 2.93)", ratio, 1.36, 2.93, _KIEBOOM_PPI
    ratio = _odds_ratio(brief * noise <= low, base)
    yield "PPI for 60 days, odds ratio", "no association", ratio, 0.8, 1.6, _KIEBOOM_PPI
    ratio = _odds_ratio(both * noise <= low, base)
    yield (
        "PPI and loop diuretic, odds ratio",
        "7.22 (1.69 to 30.8)",
        ratio,
        1.69,
        30.8,
        _KIEBOOM_PPI,
    )
    change = float((thiazide - none).mean())
    yield "thiazide, change of serum mmol/L", "-0.018", change, -0.027, -0.009, _KIEBOOM
    ratio = _odds_ratio(thiazide * noise <= low, base)
    yield "thiazide, odds ratio of 0.72 or less", "3.14 (above 1.67)", ratio, 1.67, 6, _KIEBOOM
    change = float((loop - none).mean())
    yield "loop diuretic, change of serum mmol/L", "+0.023", change, 0.004, 0.043, _KIEBOOM
    change = float((sglt2 - none).mean())
    yield "SGLT2 inhibitor, change mmol/L", "+0.04 to +0.10", change, 0.04, 0.10, "Tang 2016"
    share = 100 * float((calcineurin * noise < 0.70).mean())
    source = "kidney transplants, first year, n = 236"
    yield "calcineurin inhibitor, below 0.70 %", "40", share, 30, 50, source


def _without(cohort: Cohort, *agents: str) -> Exposures:
    from magml.simulation.people import AGENTS

    old = cohort.exposures
    keep = ~np.isin(old.agent, [AGENTS.index(agent) for agent in agents])
    return Exposures(*(getattr(old, name)[keep] for name in old.__dataclass_fields__))


def _cisplatin(rng: np.random.Generator, world: Parameters, n: int) -> Found:
    cohort = outpatients(rng, world, n)
    given = cohort
    for cycle in range(5):
        start = 1 + 21 * cycle
        doses = with_agent(given, "cisplatin", start, start + 1)
        given = Cohort(cohort.population, cohort.people, doses)
    course = simulate_physiology(given.people, given.exposures, world, 130, record_every=7)
    values = course.serum * np.exp(rng.normal(0, _SERUM_CV, course.serum.shape))
    nadir = values.min(axis=0)
    source = "cisplatin cohort, n = 214 (Clin Oncol 2006)"
    share = 100 * float((nadir < 0.70).mean())
    yield "cisplatin, ever below 0.70 %", "43", share, 36, 50, source
    yield "cisplatin, mean nadir mmol/L", "0.68", nadir.mean(), 0.64, 0.74, source


_EXPERIMENTS: tuple[Callable[[np.random.Generator, Parameters, int], Found], ...] = (
    _loading, _urine, _population, _fan, _depletion, _gut, _drugs, _cisplatin,
)  # fmt: skip
