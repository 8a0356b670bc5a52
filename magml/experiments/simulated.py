"""Labelled rows of simulated people: worlds, what institutions have of them, and the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from magml.definitions import Catalogue, ExperimentDefinition, ModelDefinition
from magml.definitions.catalogue import Frozen
from magml.definitions.model import BodyStatusOutcome
from magml.definitions.read import definition_hash, parse
from magml.errors import DefinitionError, InputError
from magml.experiments.prepare import Rows, labelled_rows
from magml.files import canonical_json, sha256_bytes
from magml.progress import Report, silent

if TYPE_CHECKING:
    from magml.cohort import Step

#: The layout of an experiment whose records are simulated; it reads no data.
LAYOUT = "simulation"
#: The one outcome whose truth the simulator gives as a label.
LABEL = "loading_test_retention"
#: People of one world and setting; numbers of people never meet.
_BLOCK = 1_000_000


class Simulation(Frozen):
    """Options of the layout ``simulation``.

    Attributes
    ----------
    parameters
        Hash of the simulator's tables that were frozen before training; others are refused.
    split, first_world, worlds
        Which worlds; test worlds train nothing.
    people
        Of a world, in equal parts of each of `settings`.
    settings
        As for `magml.simulate`.
    seed
        Of people and of what institutions have.
    valid_above
        True filtration (mL/min/1.73 m2) under which a loading test is not valid; such people are
        left out.
    """

    parameters: str | None = None
    split: str = Field(default="training", pattern="^(training|development)$")
    first_world: int = Field(default=0, ge=0)
    worlds: int = Field(default=20, ge=2)
    people: int = Field(default=1500, ge=20)
    settings: tuple[str, ...] = Field(default=("hospital", "community"), min_length=1)
    seed: int = 1
    valid_above: float = 60.0


def read_simulation(definition: ExperimentDefinition) -> Simulation:
    """Return the options of an experiment's simulation.

    Raises
    ------
    DefinitionError
        If an option does not parse, or the simulator's tables are not those frozen.
    """
    from magml.simulation.tables import table_hash

    where = f"experiments/{definition.name}.yaml: source.options"
    found = parse(Simulation, definition.source.options, where)
    if found.parameters is not None and found.parameters != table_hash():
        raise DefinitionError(
            f"{where}: parameters {found.parameters[:12]}..., and the simulator's tables are "
            f"{table_hash()[:12]}...",
            "the tables that were frozen before the training",
            "restore simulation/*.yaml, or state the new hash and train everything again",
        )
    return found


def simulator_facts() -> dict[str, str]:
    """Return the hashes of the simulator's tables and of what institutions record of people."""
    from magml.simulation.institutions import read_institutions
    from magml.simulation.tables import table_hash

    seen = {name: definition_hash(one) for name, one in read_institutions().items()}
    return {
        "simulator": table_hash(),
        "institutions": sha256_bytes(canonical_json(seen).encode()),
    }


def simulated_rows(
    definition: ExperimentDefinition,
    model: ModelDefinition,
    catalogue: Catalogue,
    *,
    report: Report = silent,
) -> Rows:
    """Return rows of simulated people with their noise-free loading test as the label.

    Each world is a site, so that folds by site test on worlds that trained nothing.

    Raises
    ------
    DefinitionError
        If the model's outcome is not the loading test with simulated labels, or the simulator
        is not the frozen one.
    """
    import pandas as pd
    import pyarrow as pa

    from magml.cohort import Step
    from magml.simulation.institutions import draw_institutions, read_institutions, seen_through
    from magml.simulation.tables import table_hash

    outcome = model.outcome
    simulated = isinstance(outcome, BodyStatusOutcome) and outcome.labels == "simulated"
    if not (simulated and outcome.definition.name == LABEL):  # type: ignore[union-attr]
        raise DefinitionError(
            f"{model.name} does not predict {LABEL} with labels: simulated",
            "a model of what the simulator knows",
            "set outcome.definition and outcome.labels, or name another experiment",
        )
    options = read_simulation(definition)
    institutions = read_institutions()
    events: list[Any] = []
    truths: list[Any] = []
    drawn = 0
    for number, world, setting, people in _parts(options):
        made = _simulate(options, world, setting, people)
        drawn += len(made.truth)
        rng = np.random.default_rng([options.seed, world, options.settings.index(setting)])
        seen = draw_institutions(rng, len(made.truth), institutions)
        truth = made.truth.assign(institution=seen, world=f"world {world}")
        truth = truth[truth["gfr"] >= options.valid_above]
        kept = seen_through(
            made.events,
            truth["subject_id"].to_numpy(),
            truth["institution"].to_numpy(),
            institutions,
            catalogue,
        )
        place = kept.column_names.index("subject_id")
        shifted = pa.array(kept.column("subject_id").to_numpy() + number * _BLOCK)
        events.append(kept.set_column(place, "subject_id", shifted))
        truths.append(truth.assign(subject_id=truth["subject_id"] + number * _BLOCK))
        report((number + 1) / (options.worlds * len(options.settings)), "simulating worlds")
    truth = pd.concat(truths, ignore_index=True)
    labels = truth[["subject_id", "prediction_time"]].assign(boolean_value=truth["depleted"])
    found = labelled_rows(pa.concat_tables(events), labels, definition.minimum_cases)
    world = truth.set_index("subject_id")["world"].reindex(found.persons).to_numpy(dtype=object)
    steps: tuple[Step, ...] = (
        Step(f"simulated people of {options.worlds} {options.split} worlds", drawn, drawn, 0),
        Step(f"filtration of {options.valid_above:g} or more", len(truth), len(truth),
             drawn - len(truth)),
    )  # fmt: skip
    shares = truth["institution"].value_counts()
    facts: dict[str, Any] = {
        **simulator_facts(),
        "seen_through": {name: int(shares.get(name, 0)) for name in institutions},
    }
    notes = (
        "everybody is simulated: figures are simulator recovery, never clinical performance",
        f"simulator {table_hash()[:16]}, {options.split} worlds {options.first_world} to "
        f"{options.first_world + options.worlds - 1}",
        "each person is seen through one kind of institution: "
        + ", ".join(f"{name} {count}" for name, count in facts["seen_through"].items()),
        *found.notes,
    )
    return replace(found, sites=world, attrition=steps, notes=notes, facts=facts)


def _parts(options: Simulation) -> list[tuple[int, int, str, int]]:
    """Return number, world, setting and people of each simulation."""
    share = options.people // len(options.settings)
    chosen = range(options.first_world, options.first_world + options.worlds)
    pairs = [(world, setting) for world in chosen for setting in options.settings]
    return [(number, world, setting, share) for number, (world, setting) in enumerate(pairs)]


def _simulate(options: Simulation, world: int, setting: str, people: int) -> Any:
    from magml.simulation.world import simulate

    if people < 1:
        raise InputError(
            f"{options.people} people in {len(options.settings)} settings", "one or more in each"
        )
    seed = options.seed + options.settings.index(setting)
    return simulate(people, seed, world=world, split=options.split, setting=setting)  # type: ignore[arg-type]
