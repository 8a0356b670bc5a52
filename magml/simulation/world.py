"""A simulated institution: its records, and apart from them the truth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError, nearest
from magml.events.simulated import marked
from magml.files import atomic_directory, pretty_json
from magml.simulation.charting import Chart, chart_diagnoses, chart_drugs
from magml.simulation.laboratory import Laboratory
from magml.simulation.parameters import SPLITS, Parameters, Split, draw_world, read_parameters
from magml.simulation.patients import Patients, draw_patients
from magml.simulation.people import Trajectory
from magml.simulation.physiology import (
    causes,
    exchangeable,
    loading_test,
    retention_by_weight,
    simulate_physiology,
)
from magml.simulation.population import DAYS, Setting
from magml.simulation.records import DAY_ZERO, moments, write_records

if TYPE_CHECKING:
    import pandas as pd

#: Retention of a loading test above which a person counts as depleted (Gullestad 1994).
DEPLETED = 0.275
Format = Literal["events", "omop", "meds"]
FORMATS: tuple[Format, ...] = ("events", "omop", "meds")
#: Days before the records; whoever takes something on the first has always taken it.
_HISTORY = 365
#: mmol/day below which nothing counts as a cause.
_NOTHING = 0.05


@dataclass(frozen=True, eq=False)
class World:
    """Records and truth.

    Attributes
    ----------
    events : pyarrow.Table
        The event contract, marked as simulated.
    truth : pandas.DataFrame
        `subject_id`, `prediction_time`, `retention` (noise-free loading test), `depleted`
        (retention above 0.275), `retention_by_weight` (of a load that grows with weight:
        0.1 mmol/kg over 4 h), `depletion` (share of the mobilisable pool that is missing),
        `exchangeable` and `mobilisable` (mmol), `serum` (true, mmol/L), `urine` (mmol of the last
        day), `gfr` (true), `intake` (usual, mmol/day), `main_cause` (largest of what is lost or
        not absorbed, mmol/day; ``none`` where nothing is), `tested` (whether serum magnesium was
        ever measured), `treated` (whether magnesium was given for a low value).
    parameters : Parameters
        Of the world.
    losses : pandas.DataFrame
        `subject_id`, `cause`, `mmol_per_day`: all that each person loses or does not absorb.
    courses : numpy.ndarray, shape (days, n)
        True serum at the end of each day, mmol/L.
    """

    events: Any
    truth: pd.DataFrame
    parameters: Parameters
    losses: pd.DataFrame
    courses: NDArray[np.float32]

    def serum_at(self, subjects: Any, times: Any) -> NDArray[np.float64]:
        """Return true serum magnesium of people at any time of the records.

        Parameters
        ----------
        subjects : array of int, shape (m,)
            `subject_id`.
        times : array of datetime64, shape (m,)
            Moments; a moment takes the value of the end of its day.

        Returns
        -------
        numpy.ndarray, shape (m,)
            mmol/L.

        Raises
        ------
        InputError
            If a person or a time is outside of the records.
        """
        moment = np.asarray(times, dtype="datetime64[us]")
        day = (moment - DAY_ZERO) // np.timedelta64(1, "D")
        row = np.asarray(subjects, dtype=np.int64) - 1
        days, people = self.courses.shape
        # The prediction time is midnight after the last day.
        day = np.where(moment == DAY_ZERO + np.timedelta64(days, "D"), days - 1, day)
        if len(row) and (
            row.min() < 0 or row.max() >= people or day.min() < 0 or day.max() >= days
        ):
            raise InputError(
                "a person or a time outside of the records", f"1 to {people}, within {days} days"
            )
        return self.courses[day, row].astype(np.float64)

    def write(self, folder: str | os.PathLike[str], format: Format = "events") -> Path:
        """Write records and, apart from them, the truth to a new folder.

        Parameters
        ----------
        folder
            New folder. ``records/`` in it holds the records; ``truth/`` holds ``truth.parquet``,
            ``losses.parquet`` and ``serum.parquet`` (true serum, a row a day, a column a person);
            ``world.json`` names the world and its parameters.
        format
            ``events``: the event contract, ``events.parquet``. ``omop``: an OMOP CDM 5.4, a Parquet
            file a table. ``meds``: a MEDS data set. ``source.yaml`` says how an experiment reads
            it. What a format loses stands in its module.

        Raises
        ------
        InputError
            If there is no such format.
        """
        import pyarrow.parquet as pq

        if format not in FORMATS:
            raise InputError(f"the format {format!r}", nearest(format, FORMATS))
        with atomic_directory(folder) as beside:
            for name in ("records", "truth"):
                (beside / name).mkdir()
            self._write_records(beside, format)
            self.truth.to_parquet(beside / "truth" / "truth.parquet", index=False)
            self.losses.to_parquet(beside / "truth" / "losses.parquet", index=False)
            pq.write_table(self._serum_table(), beside / "truth" / "serum.parquet")
            about = {
                "world": self.parameters.name,
                "table": self.parameters.table_hash,
                "parameters": dict(self.parameters.values),
            }
            (beside / "world.json").write_text(pretty_json(about), encoding="utf-8")
        return Path(folder)

    def _write_records(self, folder: Path, format: Format) -> None:
        import pyarrow.parquet as pq
        import yaml

        records = folder / "records"
        source: dict[str, Any] = {"layout": format}
        if format == "events":
            pq.write_table(self.events, records / "events.parquet")
        elif format == "meds":
            from magml.simulation.meds import write_meds

            write_meds(self.events, records)
        else:
            from magml.simulation.omop import READING, write_omop

            last = DAY_ZERO + np.timedelta64(len(self.courses) - 1, "D")
            write_omop(self.events, records, DAY_ZERO, last)
            source["options"] = READING
        text = yaml.safe_dump({"source": source}, sort_keys=False)
        (folder / "source.yaml").write_text(text, encoding="utf-8")

    def _serum_table(self) -> Any:
        import pyarrow as pa

        days, people = self.courses.shape
        columns: dict[str, Any] = {"time": moments(np.arange(1.0, days + 1))}
        columns |= {str(row + 1): self.courses[:, row] for row in range(people)}
        return pa.table(columns)


@dataclass(frozen=True, eq=False)
class Institution:
    """What went on in a simulated institution, before it becomes records and truth."""

    patients: Patients
    laboratory: Laboratory
    course: Trajectory
    drugs: Chart
    diagnoses: Chart


def run_institution(
    rng: np.random.Generator,
    parameters: Parameters,
    n: int,
    days: int,
    setting: Setting = "hospital",
    unrecorded: float = 0.0,
) -> Institution:
    """Let time pass in an institution.

    Parameters
    ----------
    rng
        Generator; each step has a stream of its own.
    parameters
        Parameters of the world.
    n, days, setting, unrecorded
        As in `simulate`.
    """
    streams = rng.spawn(4)
    patients = draw_patients(streams[0], parameters, n, days, setting)
    drugs = chart_drugs(streams[1], patients, parameters, days)
    diagnoses = chart_diagnoses(streams[2], patients, parameters)
    laboratory = Laboratory(
        streams[3], patients, parameters, days, drugs, diagnoses, unrecorded=unrecorded
    )
    course = simulate_physiology(
        patients.people,
        patients.courses.exposures(),
        parameters,
        days,
        onset=patients.onset,
        first_day=-_HISTORY,
        attend=laboratory.attend,
    )
    return Institution(patients, laboratory, course, drugs, diagnoses)


def simulate(
    n_subjects: int = 20_000,
    seed: int = 1,
    *,
    world: int | None = None,
    split: Split = "test",
    days: int = 730,
    setting: Setting = "hospital",
    unrecorded: float = 0.0,
) -> World:
    """Simulate an institution's patients over two years.

    Parameters
    ----------
    n_subjects, seed
        Patients, and the seed of everything about them. Splits and worlds have streams of their
        own: the same seed gives other people in another split or world.
    world, split
        Number of a world and its split, whose parameters are drawn; default the central values.
    days
        Days of records, at most 1,095; the truth is that of the last day, and so is the
        prediction time.
    setting
        ``hospital``: an institution's patients; ``community``: adults as a survey finds them.
    unrecorded
        How strongly the stores themselves, which nobody records, make clinicians measure
        magnesium (change of log-odds per mmol/L that serum lies below 0.85); 0: testing depends
        only on what is recorded.

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

    if n_subjects < 1 or not 30 <= days <= DAYS:
        raise InputError(
            f"{n_subjects} patients over {days} days", f"1 or more, over 30 to {DAYS} days"
        )
    parameters = read_parameters() if world is None else draw_world(world, split)
    key = (seed,) if world is None else (seed, 1 + SPLITS.index(split), world)
    rng = np.random.default_rng(np.random.SeedSequence(key))
    seen = run_institution(rng, parameters, n_subjects, days, setting, unrecorded)
    patients, laboratory, course = seen.patients, seen.laboratory, seen.course
    events = marked(
        write_records(rng.spawn(1)[0], patients, laboratory, seen.drugs, seen.diagnoses, days)
    )
    state = course.last
    pools = exchangeable(state, patients.people, parameters)
    retention = loading_test(state, patients.people, parameters)
    found = causes(state, patients.people, parameters)
    names = np.array([*found, "none"], dtype=object)
    amounts = np.stack([*found.values(), np.full(n_subjects, _NOTHING)])
    subject = np.arange(1, n_subjects + 1)
    truth = pd.DataFrame(
        {
            "subject_id": subject,
            "prediction_time": moments(np.full(n_subjects, float(days))),
            "retention": retention,
            "depleted": retention > DEPLETED,
            "retention_by_weight": retention_by_weight(state, patients.people, parameters),
            "depletion": pools.depletion,
            "exchangeable": pools.exchangeable,
            "mobilisable": pools.mobilisable,
            "serum": state.serum,
            "urine": state.urine,
            "gfr": patients.people.gfr,
            "intake": patients.people.intake,
            "main_cause": names[amounts.argmax(axis=0)],
            "tested": np.isin(subject, laboratory.samples.person[laboratory.asked] + 1),
            "treated": np.isin(subject, laboratory.treated_persons() + 1),
        }
    )
    lost = pd.DataFrame({"subject_id": subject, **found}).melt(
        "subject_id", var_name="cause", value_name="mmol_per_day"
    )
    lost = lost[lost["mmol_per_day"].abs() > _NOTHING / 10].sort_values(["subject_id", "cause"])
    return World(events, truth, parameters, lost.reset_index(drop=True), course.serum)
