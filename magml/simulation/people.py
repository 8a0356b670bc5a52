"""What the simulated physiology is told, and what it tells: the contract between its modules.

A *population* module makes :class:`People` and :class:`Exposures`; the *physiology* turns them
into a :class:`Trajectory` and, at days asked for, a :class:`State`; a *records* module writes what
an institution would have recorded of them. Everything is arrays over people; nothing is a patient.

Time
    Day 0 is the first recorded day; day ``d`` is the interval [d, d + 1). An exposure acts on the
    days ``start <= d < stop``. Days before 0 are history: pass ``first_day=-730`` to let two years
    run before records begin. At ``first_day`` everybody is in the steady state of what is in
    force on that day.

Functions of :mod:`magml.simulation.physiology`
    ``individuals(rng, parameters, age=..., female=..., weight=..., height=..., gfr=...,
    intake=..., conditions=...) -> People``
        Adds what varies between people and is never recorded (set-points, sensitivities).
    ``simulate_physiology(people, exposures, parameters, days, *, onset=None, first_day=0,
    record_every=1, snapshots=None) -> Trajectory``
        ``onset`` maps a condition to the day on which it began, float [n] (-inf: always there;
        only looked at where ``people.conditions`` is true). ``snapshots`` is a pair of int arrays
        (person, day): for each pair the whole state at the end of that day is kept, in the order
        asked, as ``trajectory.states``.
    ``loading_test(states, people, parameters, *, dose=30.0, hours=8.0, collect=24.0) -> array``
        Noise-free share of an intravenous load retained, ``1 - urine / dose``, one for each row
        of ``states``; diet and drugs go on meanwhile. Above 0.275 a person counts as depleted
        (Gullestad 1994). With ``dose=0`` the same function's urine is the basal 24-h urine.
    ``exchangeable(states, people, parameters) -> Pools``
        Exchangeable and mobilisable magnesium, mmol, their full values and the depletion
        fraction (0 replete, 1 nothing left to mobilise; below 0: more than full).
    ``causes(states, people, parameters) -> dict[str, array]``
        mmol/day lost or not absorbed through each cause (a condition, an agent, or ``intake``).

Functions of :mod:`magml.simulation.parameters`
    ``read_parameters() -> Parameters``, ``draw_world(number, split) -> Parameters`` with split
    ``"development"``, ``"training"`` or ``"test"``; ``parameters["name"]`` is a number,
    ``parameters.table_hash`` stands for the file, ``parameters.name`` says which world.

Serum here is the true total concentration; protein binding, within-person variation, assay noise
and haemolysis are for the records module. The parameter table is ``simulation/parameters.yaml``;
tables of other simulation modules may stand beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError, nearest

Floats = NDArray[np.float64]

#: Conditions a person may have; each acts by the mechanisms of the parameter table. Others
#: (hypertension, heart failure) belong to the population module: they act through their drugs.
CONDITIONS = (
    "diabetes",
    "alcohol_use",
    "chronic_diarrhoea",
    "celiac",
    "bariatric",
    "ibd",
    "pancreatic_insufficiency",
    "malnutrition",
    "hyperparathyroidism",
    "gitelman_like",
)

#: What people are given, from ``start`` to ``stop``. Doses count in usual doses (1.0: one defined
#: daily dose; for cisplatin and carboplatin one cycle, given on its day), except those of
#: :data:`IN_MMOL`, in mmol of magnesium a day, ``diet``: intake as a multiple of the usual, and
#: ``fasting``: the share of the diet that is not eaten.
AGENTS = (
    "ppi",
    "h2_blocker",
    "thiazide",
    "loop",
    "k_sparing",
    "sglt2",
    "cisplatin",
    "carboplatin",
    "anti_egfr",
    "calcineurin",
    "aminoglycoside",
    "amphotericin",
    "foscarnet",
    "digoxin",
    "insulin",
    "beta_agonist",
    "metformin",
    "laxative",
    "acute_diarrhoea",
    "critical_illness",
    "refeeding",
    "diet",
    "fasting",
    "supplement",
    "infusion",
)
IN_MMOL = ("supplement", "infusion")


@dataclass(frozen=True)
class People:
    """People as the physiology sees them; every array has length n.

    Attributes
    ----------
    age, weight, height, gfr
        Years, kg, cm, true filtration in mL/min/1.73 m2.
    female
        bool.
    intake
        Usual magnesium of food and water, mmol/day (1 mmol = 24.305 mg).
    genes
        Inherited multiplier of distal reabsorption, around 1.
    conditions
        bool [n] for each of :data:`CONDITIONS` that anybody has, true if ever (see ``onset``).
    sensitivity
        Multiplier of the effects of an agent or condition, by its name; absent: 1.
    setpoint
        Individual multipliers around 1, by name: ``serum`` (concentration the tissues are full
        at), ``threshold`` (renal threshold in relation to it), ``affinity`` (serum at which tissues
        are as full as usual, in relation to it), ``absorption``, ``pool`` (size of the mobilisable
        pool).
    """

    age: Floats
    female: NDArray[np.bool_]
    weight: Floats
    height: Floats
    gfr: Floats
    intake: Floats
    genes: Floats
    conditions: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    sensitivity: dict[str, Floats] = field(default_factory=dict)
    setpoint: dict[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self._arrays():
            if values.shape != (self.n,):
                raise InputError(
                    f"people: {name} has shape {values.shape}",
                    f"one value for each of {self.n} people",
                )
        for name in self.conditions:
            if name not in CONDITIONS:
                raise InputError(f"unknown condition {name!r}", nearest(name, CONDITIONS))

    @property
    def n(self) -> int:
        """Number of people."""
        return int(self.age.shape[0])

    def take(self, index: NDArray[Any]) -> People:
        """Return the people at `index`, in that order."""
        chosen: dict[str, Any] = {}
        for part in fields(self):
            value = getattr(self, part.name)
            chosen[part.name] = (
                {name: array[index] for name, array in value.items()}
                if isinstance(value, dict)
                else value[index]
            )
        return People(**chosen)

    def _arrays(self) -> list[tuple[str, NDArray[Any]]]:
        found: list[tuple[str, NDArray[Any]]] = []
        for part in fields(self):
            value = getattr(self, part.name)
            found += value.items() if isinstance(value, dict) else [(part.name, value)]
        return found


@dataclass(frozen=True)
class Exposures:
    """What people were given, long, one row a course; overlapping courses add up.

    Attributes
    ----------
    person
        Row of :class:`People`, int64 [m].
    agent
        Index into :data:`AGENTS`, int64 [m].
    start, stop
        First day and the day after the last, int64 [m]; may be negative.
    dose
        See :data:`AGENTS`, float64 [m].
    """

    person: NDArray[np.int64]
    agent: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    dose: Floats

    def __post_init__(self) -> None:
        if len({part.shape for part in (self.person, self.agent, self.start, self.stop)}) > 1:
            raise InputError("exposures: columns of different length", "one value a course")
        if self.agent.size and not (self.agent.min() >= 0 and self.agent.max() < len(AGENTS)):
            raise InputError("exposures: an agent outside AGENTS", f"0 to {len(AGENTS) - 1}")

    @classmethod
    def of(cls, rows: list[tuple[int, str, int, int, float]]) -> Exposures:
        """Return exposures from rows (person, agent's name, start, stop, dose), sorted.

        Examples
        --------
        >>> Exposures.of([(1, "thiazide", 0, 30, 1.0), (0, "ppi", 0, 90, 1.0)]).person
        array([0, 1])
        """
        known = {name: code for code, name in enumerate(AGENTS)}
        for row in rows:
            if row[1] not in known:
                raise InputError(f"unknown agent {row[1]!r}", nearest(row[1], AGENTS))
        ordered = sorted((p, start, known[name], stop, dose) for p, name, start, stop, dose in rows)
        columns: list[Any] = list(zip(*ordered, strict=True)) if ordered else [()] * 5
        person, start, agent, stop, dose = columns
        return cls(
            person=np.array(person, dtype=np.int64),
            agent=np.array(agent, dtype=np.int64),
            start=np.array(start, dtype=np.int64),
            stop=np.array(stop, dtype=np.int64),
            dose=np.array(dose, dtype=np.float64),
        )


@dataclass(frozen=True)
class State:
    """Bodies at one moment each; row r is person ``person[r]`` at the end of ``day[r]``.

    Attributes
    ----------
    person, day
        int64 [m].
    extracellular, soft, bone, core
        Magnesium in plasma and interstitial fluid, in the mobilisable part of the soft tissues,
        in exchangeable bone and in the slow core, mmol [m].
    conservation
        How far the kidney has adapted to depletion, 0 to 1 [m].
    serum
        True total concentration, mmol/L [m].
    urine, absorbed
        Of that day, mmol [m].
    levels
        How far each condition and agent is in force: float64 [conditions + agents, m], in the
        order of :data:`CONDITIONS` then :data:`AGENTS`.
    """

    person: NDArray[np.int64]
    day: NDArray[np.int64]
    extracellular: Floats
    soft: Floats
    bone: Floats
    core: Floats
    conservation: Floats
    serum: Floats
    urine: Floats
    absorbed: Floats
    levels: Floats

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.person.shape[0])


@dataclass(frozen=True)
class Trajectory:
    """Courses of all people over the recorded days.

    Attributes
    ----------
    days
        Recorded days, int64 [k]: every `record_every`-th from day 0.
    serum, urine, absorbed
        True serum at the end of the day (mmol/L), urine and absorbed magnesium of the day
        (mmol), float32 [k, n].
    total
        Magnesium of the body at the end of the recorded days, float32 [k, n], mmol.
    states
        The states asked for as `snapshots`.
    last
        State at the end of the last day, one row a person.
    imbalance
        Largest difference between what came in less what went out and what the body gained, over
        all people, relative to the body's content.
    """

    days: NDArray[np.int64]
    serum: NDArray[np.float32]
    urine: NDArray[np.float32]
    absorbed: NDArray[np.float32]
    total: NDArray[np.float32]
    states: State
    last: State
    imbalance: float


@dataclass(frozen=True)
class Pools:
    """Pools of magnesium, mmol [m], and the depletion fraction of the mobilisable one."""

    exchangeable: Floats
    mobilisable: Floats
    full: Floats
    depletion: Floats
