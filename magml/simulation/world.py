"""A simulated institution: its records, and apart from them the truth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.errors import InputError
from magml.files import atomic_directory, pretty_json
from magml.simulation.parameters import Parameters, Split, draw_world, read_parameters
from magml.simulation.patients import draw_patients
from magml.simulation.physiology import causes, exchangeable, loading_test, simulate_physiology
from magml.simulation.records import moments, write_records

if TYPE_CHECKING:
    import pandas as pd

#: Retention of a loading test above which a person counts as depleted (Gullestad 1994).
DEPLETED = 0.275
_HISTORY = 200


@dataclass(frozen=True, eq=False)
class World:
    """Records and truth.

    Attributes
    ----------
    events : pyarrow.Table
        The event contract.
    truth : pandas.DataFrame
        `subject_id`, `prediction_time`, `retention` (noise-free loading test), `depleted`
        (retention above 0.275), `depletion` (share of the mobilisable pool that is missing),
        `exchangeable` (mmol), `serum` (true, mmol/L), `gfr` (true), `main_cause` (largest of what
        is lost or not absorbed, mmol/day; ``none`` where nothing is), `tested` (whether serum
        magnesium stands in the records).
    parameters : Parameters
        Of the world.
    """

    events: Any
    truth: pd.DataFrame
    parameters: Parameters

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``events.parquet``, ``truth.parquet`` and ``world.json`` to a new folder."""
        import pyarrow.parquet as pq

        with atomic_directory(folder) as beside:
            pq.write_table(self.events, beside / "events.parquet")
            self.truth.to_parquet(beside / "truth.parquet", index=False)
            about = {
                "world": self.parameters.name,
                "table": self.parameters.table_hash,
                "parameters": dict(self.parameters.values),
            }
            (beside / "world.json").write_text(pretty_json(about), encoding="utf-8")
        return Path(folder)


def simulate(
    n_subjects: int = 20_000,
    seed: int = 1,
    *,
    world: int | None = None,
    split: Split = "test",
    days: int = 730,
    unrecorded: float = 0.0,
) -> World:
    """Simulate an institution's patients over two years.

    Parameters
    ----------
    n_subjects, seed
        Patients, and the seed of everything about them.
    world, split
        Number of a world and its split, whose parameters are drawn; default the central values.
    days
        Days of records; the truth is that of the last day, and so is the prediction time.
    unrecorded
        How strongly the stores themselves make clinicians measure (see `write_records`).

    Returns
    -------
    World

    Raises
    ------
    InputError
        If a number is impossible.

    Examples
    --------
    >>> found = simulate(200, seed=3, days=60)
    >>> len(found.truth), found.events.num_rows > 1000
    (200, True)
    """
    import pandas as pd

    if n_subjects < 1 or days < 30:
        raise InputError(f"{n_subjects} patients over {days} days", "1 or more, over 30 or more")
    parameters = read_parameters() if world is None else draw_world(world, split)
    rng = np.random.default_rng(seed)
    patients = draw_patients(rng, parameters, n_subjects, days)
    everybody = np.arange(n_subjects)
    course = simulate_physiology(
        patients.people,
        patients.exposures,
        parameters,
        days,
        onset=patients.onset,
        first_day=-_HISTORY,
        snapshots=(everybody, np.full(n_subjects, days - 1)),
    )
    events, tested = write_records(rng, patients, course, days, unrecorded=unrecorded)
    state = course.states
    pools = exchangeable(state, patients.people, parameters)
    retention = loading_test(state, patients.people, parameters)
    found = causes(state, patients.people, parameters)
    names = np.array([*found, "none"], dtype=object)
    amounts = np.stack([*found.values(), np.full(n_subjects, 0.05)])
    truth = pd.DataFrame(
        {
            "subject_id": everybody + 1,
            "prediction_time": moments(np.full(n_subjects, float(days))),
            "retention": retention,
            "depleted": retention > DEPLETED,
            "depletion": pools.depletion,
            "exchangeable": pools.exchangeable,
            "serum": state.serum,
            "gfr": patients.people.gfr,
            "main_cause": names[amounts.argmax(axis=0)],
            "tested": tested,
        }
    )
    return World(events, truth, parameters)
