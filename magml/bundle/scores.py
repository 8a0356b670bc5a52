"""The table of scores: from a feature matrix, or range by range of people as they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.features.build import Building
from magml.progress import silent
from magml.tables import SCORES

if TYPE_CHECKING:
    import pandas as pd

    from magml.bundle.model import Model
    from magml.events import Events
    from magml.features.matrix import FeatureMatrix, MappingReport


def of_matrix(model: Model, matrix: FeatureMatrix) -> pd.DataFrame:
    """Return the scores of the rows of the plan's matrix."""
    risks = model.score_matrix(model.columns(matrix.values))
    three = np.stack([risks.risk, risks.low, risks.high])
    texts = np.array(model.warnings(matrix), dtype=object)
    return _table(model, matrix.subject_id, matrix.prediction_time, three, texts, matrix.report)


def of_ranges(model: Model, events: Events, at_relation: str, threads: int | None) -> pd.DataFrame:
    """Return the scores of prediction times without ever holding all of their features.

    Parameters
    ----------
    model
        A model whose plan has no plug-ins.
    events, at_relation, threads
        As for `magml.features.build_matrix`.
    """
    building = Building.begun(model.plan, events, at_relation, threads, False, None, silent)
    run = building.run
    risks = np.empty((3, len(run.subject_id)))
    texts = np.empty(len(run.subject_id), dtype=object)
    # Whether a person has any record at all is known last: both texts are kept till then.
    if_empty: dict[int, str] = {}
    for part in building.parts():
        found = model.score_matrix(model.columns(part.values))
        risks[:, part.rows] = found.risk, found.low, found.high
        texts[part.rows] = model.row_warnings(part.values, np.zeros(len(part.rows), dtype=bool))
        unseen = np.flatnonzero(~part.seen)
        others = model.row_warnings(part.values[unseen], np.ones(len(unseen), dtype=bool))
        if_empty.update(zip(part.rows[unseen].tolist(), others, strict=True))
    for row in np.flatnonzero(run.empty(building.seen)).tolist():
        texts[row] = if_empty[row]
    times = run.t_us.astype("datetime64[us]")
    return _table(model, run.subject_id, times, risks, texts, building.account())


def _table(
    model: Model,
    subject_id: NDArray[np.int64],
    prediction_time: NDArray[np.datetime64],
    risks: NDArray[np.float64],
    texts: NDArray[np.object_],
    report: MappingReport,
) -> pd.DataFrame:
    """Return the declared columns; `risks` are the risk and its instability range, [3, n]."""
    import pandas as pd

    found = {
        "subject_id": subject_id,
        "prediction_time": prediction_time,
        "risk": risks[0],
        "risk_low": risks[1],
        "risk_high": risks[2],
        "band": model.bands(risks[0]),
        "warnings": texts,
    }
    table = pd.DataFrame(found)[list(SCORES.names)]
    table.attrs["left_out"] = report.left_out()
    return table
