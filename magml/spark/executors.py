"""What executors must have: magml of the driver's version, and what it computes with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from magml.errors import MissingDependencyError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: Runs in an executor and needs nothing of magml there.
_PROBE = """
def probe(batches):
    import json
    import pyarrow as pa
    for _ in batches:
        try:
            import magml
            import xgboost
            found = json.dumps({"magml": magml.__version__, "xgboost": xgboost.__version__})
        except ImportError as error:
            found = json.dumps({"missing": str(error.name)})
        yield pa.RecordBatch.from_arrays([pa.array([found])], ["found"])
"""


def check_executors(spark: SparkSession) -> None:
    """Refuse executors that lack magml, or hold other versions than the driver.

    Raises
    ------
    MissingDependencyError
        Naming what is missing or differs.
    """
    import json

    import xgboost

    import magml

    # Compiled here, it travels by value: a function of a module would be looked for there.
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(_PROBE, space)
    probe = space["probe"]
    rows = spark.range(0, 1, 1, 1).mapInArrow(probe, "found STRING").collect()
    found = json.loads(rows[0]["found"])
    if "missing" in found:
        raise MissingDependencyError(
            f"the executors have no {found['missing']}",
            f"magml {magml.__version__} on every worker of the cluster",
            "install magml there, or send its environment with the session (docs/cluster.md)",
        )
    own = {"magml": magml.__version__, "xgboost": xgboost.__version__}
    if found != own:
        raise MissingDependencyError(
            f"the executors run {_versions(found)}, the driver {_versions(own)}",
            "the same versions, so that training and scoring compute the same",
            "install the same versions on the cluster",
        )


def _versions(found: dict[str, str]) -> str:
    return " and ".join(f"{name} {version}" for name, version in found.items())


def by_people(lines: DataFrame, *within: str) -> DataFrame:
    """Return lines with all of a person in one partition, sorted by person and other columns.

    Partitioned by a hash of the person rather than by the person: Spark leaves out a shuffle by a
    column that a join has just made, and may then read that of the join in other pieces.
    """
    from pyspark.sql import functions as F

    parted = lines.repartition(F.xxhash64("subject_id"))
    return parted.sortWithinPartitions("subject_id", *within)


def cut_at_people(batches: Iterable[Any], rows: int) -> Iterator[Any]:
    """Yield Arrow tables of whole people from batches sorted by ``subject_id``.

    Parameters
    ----------
    batches
        Record batches.
    rows
        Rows of a table at least; more where a person has more.
    """
    import numpy as np
    import pyarrow as pa

    held: list[Any] = []
    for batch in batches:
        held.append(batch)
        if sum(b.num_rows for b in held) < rows:
            continue
        table = pa.Table.from_batches(held)
        subjects = table["subject_id"].to_numpy()
        last = int(np.searchsorted(subjects, subjects[-1], side="left"))
        if last:
            yield table.slice(0, last)
        held = table.slice(last).to_batches()
    if held:
        yield pa.Table.from_batches(held)
