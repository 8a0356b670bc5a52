"""Courses of magnesium in a population, day by day."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.simulation.body import Bodies, Content, absorbed, advance, bodies, taken, urine
from magml.simulation.effects import CAUSES, DIRECT, Levels, acting
from magml.simulation.parameters import Parameters
from magml.simulation.people import (
    AGENTS,
    CONDITIONS,
    Exposures,
    Floats,
    People,
    Pools,
    State,
    Trajectory,
)

#: Standard deviations between people, of the logarithm.
_SPREADS = {
    "serum": "serum_cv", "threshold": "threshold_cv", "absorption": "absorption_cv",
    "pool": "pool_cv", "affinity": "affinity_cv",
}  # fmt: skip
_SETTLING = 60
#: Day, serum and missing share of soft tissue's magnesium to what is given from the next day on.
Attend = Callable[[int, Floats, Floats], Exposures | None]


def individuals(
    rng: np.random.Generator,
    parameters: Parameters,
    *,
    age: Floats,
    female: NDArray[np.bool_],
    weight: Floats,
    height: Floats,
    gfr: Floats,
    intake: Floats,
    conditions: Mapping[str, NDArray[np.bool_]] | None = None,
) -> People:
    """Return people with what varies between them and no institution records.

    Parameters
    ----------
    rng
        Generator; the same state gives the same people.
    parameters
        Parameters of the world.
    age, female, weight, height, gfr, intake, conditions
        As in `People`, each [n].
    """
    n = len(age)
    setpoint = {
        name: np.exp(rng.normal(0, parameters[spread], n)) for name, spread in _SPREADS.items()
    }
    sensitivity = {}
    for name in CAUSES:
        drawn = rng.normal(size=n)  # for each, so that one effect's spread changes no other
        spread = parameters.values.get(f"{name}.spread")
        if spread is not None:  # mean 1
            sensitivity[name] = np.exp(drawn * spread - spread**2 / 2)
    return People(
        age=age,
        female=female,
        weight=weight,
        height=height,
        gfr=gfr,
        intake=intake,
        genes=np.ones(n),
        conditions=dict(conditions or {}),
        sensitivity=sensitivity,
        setpoint=setpoint,
    )


def simulate_physiology(
    people: People,
    exposures: Exposures,
    parameters: Parameters,
    days: int,
    *,
    onset: Mapping[str, Floats] | None = None,
    first_day: int = 0,
    record_every: int = 1,
    snapshots: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    attend: Attend | None = None,
) -> Trajectory:
    """Simulate people from `first_day` to `days`.

    Parameters
    ----------
    people, exposures, parameters
        Who, what they are given, and the world's parameters.
    days
        Day after the last.
    onset
        By condition, the day on which it began, [n].
    first_day
        Where the simulation begins, in balance; may be negative.
    record_every
        Days between recorded ones, from day 0.
    snapshots
        Persons and days of which the whole state is kept.
    attend
        Called at the end of each day from 0 with the day, serum (mmol/L) and the share of soft
        tissue's mobilisable magnesium that is missing; returns what is given from tomorrow on, or
        None. So a low value can be treated, and the treatment acts.

    Returns
    -------
    Trajectory
    """
    made, levels = (
        bodies(people, parameters),
        Levels(people, exposures, parameters, first_day, onset),
    )
    now = _settled(people, made, parameters, levels)
    who, when = snapshots if snapshots is not None else (np.zeros(0, int), np.zeros(0, int))
    order = np.argsort(when, kind="stable")
    taken_states: list[tuple[NDArray[np.int64], State]] = []
    kept: dict[str, list[Any]] = {
        name: [] for name in ("days", "serum", "urine", "absorbed", "total")
    }
    worst, cursor = 0.0, 0
    state = None
    for day in range(first_day, days):
        levels.move(day)
        levels.come(1.0)
        before = now.total
        income, losses, effect = _day(people, parameters, levels)
        excreted = advance(
            now, made, parameters, 1.0, income=income, losses=losses,
            threshold=effect.threshold, soft=effect.soft,
        )  # fmt: skip
        c = now.extracellular / made.volume
        gap = before + income - losses * c / made.serum - excreted - now.total
        worst = max(worst, float(np.abs(gap / now.total).max()))
        if day >= 0 and day % record_every == 0:
            for name, value in zip(kept, (day, c, excreted, income, now.total), strict=True):
                kept[name].append(
                    np.asarray(value, dtype=np.int64 if name == "days" else np.float32)
                )
        if attend is not None and day >= 0:
            full = made.soft_room * parameters["fullness"]
            given = attend(day, c, np.clip(1 - now.soft / full, 0, 1))
            if given is not None:
                levels.add(given)
        last = day == days - 1
        stop = int(np.searchsorted(when[order], day, side="right"))
        if last or stop > cursor:
            state = _state(np.arange(people.n), day, now, made, excreted, income, levels)
            if stop > cursor:
                rows = order[cursor:stop]
                taken_states.append((rows, _of(state, who[rows])))
                cursor = stop
    assert state is not None
    empty = np.zeros((0, people.n), dtype=np.float32)
    return Trajectory(
        days=np.array(kept["days"], dtype=np.int64),
        **{
            name: np.stack(kept[name]) if kept[name] else empty
            for name in ("serum", "urine", "absorbed", "total")
        },
        states=_joined(taken_states, state),
        last=state,
        imbalance=worst,
    )


def loading_test(
    states: State,
    people: People,
    parameters: Parameters,
    *,
    dose: float | Floats = 30.0,
    hours: float = 8.0,
    collect: float = 24.0,
    steps_per_hour: int = 4,
) -> Floats:
    """Return the share of an intravenous load that is retained, noise-free, one a row of states.

    Parameters
    ----------
    states
        Bodies at the start of the test.
    people, parameters
        Who, and the world.
    dose, hours, collect
        mmol of magnesium (one for all, or one a row), hours of the infusion, hours of urine from
        its start.

    Returns
    -------
    numpy.ndarray, shape (m,)
        ``1 - urine / dose``, the basal urine included, as Gullestad and colleagues reckon it
        (Scand J Clin Lab Invest 1994;54:23-31); negative where more came out. With a dose of 0,
        the urine in mmol.
    """
    mine = people.take(states.person)
    made = bodies(mine, parameters)
    now = Content(
        states.extracellular.copy(), states.soft.copy(), states.bone.copy(), states.core.copy(),
        states.conservation.copy(),
    )  # fmt: skip
    effect = acting(states.levels, mine, parameters)
    income, losses = _income(mine, parameters, states.levels, effect)
    step = 1 / (24 * steps_per_hour)
    total = np.zeros(states.n)
    for number in range(round(collect * steps_per_hour)):
        infused = dose / hours * 24 if number < round(hours * steps_per_hour) else 0.0
        total += advance(
            now, made, parameters, step, income=income + infused, losses=losses,
            threshold=effect.threshold, soft=effect.soft,
        )  # fmt: skip
    return total if np.all(np.asarray(dose) == 0) else 1 - total / dose


def retention_by_weight(states: State, people: People, parameters: Parameters) -> Floats:
    """Return the share retained of a load that grows with weight, noise-free, shape (m,).

    0.1 mmol/kg over 4 h, and the basal urine is taken off: so the same load a kilogram is given to
    everybody, and what is excreted of it is not mixed with what would have been excreted anyway.
    After Ryzen and colleagues (Magnesium 1985;4:137-47), who gave it by lean body weight.
    """
    load = 0.1 * people.weight[states.person]
    excreted = (1 - loading_test(states, people, parameters, dose=load, hours=4.0)) * load
    basal = loading_test(states, people, parameters, dose=0.0)
    return np.asarray(1 - (excreted - basal) / load)


def exchangeable(states: State, people: People, parameters: Parameters) -> Pools:
    """Return the exchangeable and mobilisable magnesium of states and how much of it is missing."""
    made = bodies(people.take(states.person), parameters)
    full = (made.soft_room + made.bone_room) * parameters["fullness"]
    mobilisable = states.soft + states.bone
    return Pools(
        exchangeable=mobilisable + states.extracellular,
        mobilisable=mobilisable,
        full=full,
        depletion=1 - mobilisable / full,
    )


def causes(states: State, people: People, parameters: Parameters) -> dict[str, Floats]:
    """Return magnesium lost or not absorbed through each cause, mmol/day at the state's serum.

    Each cause is taken away by itself; ``intake`` is what is missing of the requirement of the
    person's sex and age (EAR, Institute of Medicine 1997).
    """
    from magml.diet import recommended_intake

    mine = people.take(states.person)
    made = bodies(mine, parameters)
    whole = acting(states.levels, mine, parameters)
    income, losses = _income(mine, parameters, states.levels, whole)
    excreted = urine(states.serum, made, parameters, whole.threshold, states.conservation)[0]
    found: dict[str, Floats] = {}
    for row, name in enumerate(CAUSES):
        if name in DIRECT or not states.levels[row].any():
            continue
        without = states.levels.copy()
        without[row] = 0
        less = acting(without, mine, parameters)
        gained, lost = _income(mine, parameters, without, less)
        other = urine(states.serum, made, parameters, less.threshold, states.conservation)[0]
        found[name] = (gained - income) + (losses - lost) + (excreted - other)
    need = recommended_intake(mine.age, mine.female).ear / 24.305
    diet, fasting = (states.levels[CAUSES.index(name)] for name in ("diet", "fasting"))
    eaten = _eaten(mine, diet, fasting)
    found["intake"] = absorbed(np.maximum(need, eaten), mine, parameters, 1.0) - absorbed(
        eaten, mine, parameters, 1.0
    )
    return found


def _income(
    people: People, parameters: Parameters, levels: NDArray[np.float64], effect: Any
) -> tuple[Floats, Floats]:
    """Return what is absorbed and infused, and what gut and skin lose, mmol/day."""
    at = {name: levels[CAUSES.index(name)] for name in DIRECT}
    eaten = _eaten(people, at["diet"], at["fasting"]) + at["supplement"]
    taken_up = absorbed(eaten, people, parameters, effect.absorption)
    losses = parameters["secretion"] + parameters["sweat"] + effect.gut_loss
    return taken_up + at["infusion"], losses


def _eaten(people: People, diet: Floats, fasting: Floats) -> Floats:
    """Return magnesium of food, mmol/day."""
    eaten = people.intake * np.where(diet > 0, diet, 1.0)
    return np.asarray(eaten * (1 - np.clip(fasting, 0, 1)))


def _day(people: People, parameters: Parameters, levels: Levels) -> tuple[Floats, Floats, Any]:
    effect = acting(levels.values, people, parameters)
    income, losses = _income(people, parameters, levels.values, effect)
    return income, losses, effect


def _settled(people: People, made: Bodies, parameters: Parameters, levels: Levels) -> Content:
    """Return bodies in balance with what is in force: the serum at which nothing changes."""
    income, losses, effect = _day(people, parameters, levels)
    low, high = np.full(people.n, 1e-3), np.full(people.n, 20.0)
    conserve = np.zeros(people.n)
    for _ in range(_SETTLING):
        c = (low + high) / 2
        share = taken(c, made.half, parameters["steepness"])
        conserve = np.clip(1 - share / parameters["fullness"], 0, 1)
        out = urine(c, made, parameters, effect.threshold, conserve)[0]
        more = income - losses * c / made.serum - out > 0
        low, high = np.where(more, c, low), np.where(more, high, c)
    share = taken(c, made.half, parameters["steepness"])
    bone = made.bone_room * share
    emptied = np.clip(1 - share / parameters["fullness"], 0, 1)
    return Content(
        made.volume * c,
        made.soft_room * effect.soft * share,
        bone,
        made.core_full * (1 - parameters["core_share"] * emptied),
        conserve,
    )


def _state(
    person: NDArray[np.int64],
    day: int,
    now: Content,
    made: Bodies,
    excreted: Floats,
    income: Floats,
    levels: Levels,
) -> State:
    held = now.copy()
    return State(
        person=person,
        day=np.full(len(person), day, dtype=np.int64),
        extracellular=held.extracellular,
        soft=held.soft,
        bone=held.bone,
        core=held.core,
        conservation=held.conservation,
        serum=held.extracellular / made.volume,
        urine=excreted.copy(),
        absorbed=income.copy(),
        levels=levels.values.copy(),
    )


def _of(state: State, rows: NDArray[np.int64]) -> State:
    """Return rows of a state."""
    return State(**{name: getattr(state, name)[..., rows] for name in state.__dataclass_fields__})


def _joined(parts: list[tuple[NDArray[np.int64], State]], like: State) -> State:
    """Return states in the order in which they were asked for."""
    if not parts:
        return _of(like, np.zeros(0, dtype=np.int64))
    rows = np.concatenate([rows for rows, _ in parts])
    back = np.argsort(rows, kind="stable")
    return State(
        **{
            name: np.concatenate([getattr(state, name) for _, state in parts], axis=-1)[..., back]
            for name in like.__dataclass_fields__
        }
    )


assert len(CAUSES) == len(CONDITIONS) + len(AGENTS)
