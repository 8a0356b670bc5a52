"""A loaded model: events and prediction times in, risks and reasons out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.bundle.warnings import Checks, evidence_of_scores, measured_before
from magml.errors import InputError
from magml.events.table import reading
from magml.memory import limited

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd
    import pyarrow as pa

    from magml.definitions import Catalogue, Feature, ModelDefinition
    from magml.engines import EngineTable
    from magml.events import Events
    from magml.explanations import Explanation
    from magml.explanations.baseline import Baseline
    from magml.explanations.reference import ReferenceCohort
    from magml.features import FeatureMatrix, Plan
    from magml.features.few import FewRecords
    from magml.models.bag import Bag
    from magml.models.calibration import Calibrator

#: The members' percentiles that make the instability range.
_RANGE = (10.0, 90.0)


@dataclass(frozen=True, eq=False)
class Risks:
    """Risks of rows of a feature matrix.

    Attributes
    ----------
    margin
        Mean log-odds of the members before calibration, shape (n,).
    risk
        Calibrated risk, 0 to 1, shape (n,).
    low, high
        10th and 90th percentile of the members' calibrated risks, shape (n,): an instability
        range, not a confidence interval.
    """

    margin: NDArray[np.float64]
    risk: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Model:
    """A model as its bundle holds it. `magml.load` returns one.

    Attributes
    ----------
    hash
        The bundle's hash.
    definition
        The model's definition: outcome, intended use, bands.
    catalogue
        The catalogue it was trained with; scoring uses this one and no other.
    plan
        The compiled plan that computes its features.
    bag, calibrator
        Boosters, and the map from their mean log-odds to a risk.
    baseline
        Where its explanations start.
    training
        Summary of the training, as plain values.
    card
        The model card, as plain values; `card_text` is the same in words.
    card_text
        The model card in Markdown.
    reference
        Percentiles of the plan's features over the cohort; None in bundles of format 1.
    """

    hash: str
    definition: ModelDefinition
    catalogue: Catalogue
    plan: Plan
    bag: Bag
    calibrator: Calibrator
    baseline: Baseline
    training: Mapping[str, Any]
    card: Mapping[str, Any]
    card_text: str
    reference: ReferenceCohort | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the model's features, in the order of its matrix."""
        return self.bag.features

    @cached_property
    def schema(self) -> tuple[Feature, ...]:
        """The model's features with unit, domain, concept, statistic, window and label."""
        return tuple(self.catalogue.features[name] for name in self.features)

    def __repr__(self) -> str:
        members, features = len(self.bag.boosters), len(self.features)
        return (
            f"Model({self.definition.name!r}, {members} members, {features} features, "
            f"hash {self.hash[:12]})"
        )

    def score(
        self,
        events: Any,
        at: Any,
        *,
        threads: int | None = None,
        memory: str | int | None = None,
    ) -> pd.DataFrame:
        """Return calibrated risks of people at prediction times.

        Parameters
        ----------
        events
            Records in the event contract: `magml.Events`, a path, a pandas or an Arrow table; or
            a table on a connected engine (`magml.spark.events`, `magml.postgres.events`), which
            then aggregates them itself.
        at
            Prediction times: a table or a file with ``subject_id`` and ``prediction_time``, or
            one moment that holds for everybody in `events`.
        threads
            Threads that build features; never changes a result.
        memory
            What building them may take, such as ``4GB``; default a quarter of the machine's.

        Returns
        -------
        pandas.DataFrame
            The columns of `magml.tables.SCORES`, one row for each prediction time, in the order
            given. Rows of people without events are scored, with a warning in the row. Its
            ``attrs["left_out"]`` counts the values that no feature uses because of their unit
            (`magml.features.FeatureMatrix`'s report).

        Raises
        ------
        InputError
            If a table does not fit its contract.

        Examples
        --------
        >>> model = magml.load("bundle")                          # doctest: +SKIP
        >>> model.score("events.parquet", "2025-03-01 08:00")     # doctest: +SKIP
        """
        from magml.bundle.scores import of_matrix, of_ranges

        with limited(memory):
            read = self._read_at_once(events, at)
            if read is not None:
                return of_matrix(self, read[0])
            with self._inputs(events, at) as (found, relation), reading("the records"):
                if self.plan.plugins:
                    return of_matrix(self, self._built(found, relation, threads))
                return of_ranges(self, found, relation, threads)

    def score_stream(
        self,
        batches: Iterable[pa.RecordBatch],
        at: Any,
        *,
        rows: int = 500_000,
        threads: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the scores of people as their events arrive, in bounded memory.

        Parameters
        ----------
        batches
            Arrow record batches of events in the contract's columns, all events of a person
            together and people in rising order of ``subject_id``.
        at
            As for `score`. Of a table, people without events are scored too.
        rows
            Events held at once; more only where one person has more.
        threads
            As for `score`.

        Yields
        ------
        pyarrow.RecordBatch
            The columns of `magml.tables.SCORES`, in the order of ``subject_id``; the same rows
            and values as `score`.

        Raises
        ------
        InputError
            If people do not come in order, or a batch does not fit the contract.
        """
        from magml.bundle.stream import stream_scores

        return stream_scores(self, batches, at, rows=rows, threads=threads)

    def explain(
        self,
        events: Any,
        at: Any,
        *,
        evidence: bool | int = True,
        threads: int | None = None,
        memory: str | int | None = None,
    ) -> Explanation:
        """Return the reasons for each risk: exact, additive, with the rows behind them.

        Parameters
        ----------
        events, at, threads, memory
            As for `score`.
        evidence
            Look up the recorded rows behind the ten largest reasons of each prediction time, or
            behind as many as this number says; False looks up none and is faster.

        Returns
        -------
        magml.explanations.Explanation

        Raises
        ------
        InputError
            If a table does not fit its contract.
        MagmlError
            If contributions do not sum to the log-odds of a row.
        """
        from magml.engines import EngineTable
        from magml.events import read_events
        from magml.explanations.evidence import TOP, evidence_of
        from magml.explanations.explain import explain

        with limited(memory):
            matrix, read = self._read(events, at, threads)
        found = explain(self, matrix)
        top = TOP if evidence is True else int(evidence)
        if top == 0:
            return found
        if isinstance(read, EngineTable):
            read = read_events(read.rows_of(matrix.subject_id))
        return replace(found, evidence=evidence_of(found, self.plan, read, top))

    def score_matrix(self, X: ArrayLike) -> Risks:
        """Return risks of rows of the model's own feature matrix.

        Parameters
        ----------
        X
            Matrix, shape (n, p), columns as in `features`; NaN is missing.

        Returns
        -------
        Risks

        Raises
        ------
        InputError
            If the number of columns differs.
        """
        margins = self.bag.margins(X)
        margin = margins.mean(axis=1)
        members = self.calibrator.risk(margins)
        if not len(margin):
            return Risks(margin, margin, margin, margin)
        low, high = np.percentile(members, _RANGE, axis=1)
        return Risks(margin, self.calibrator.risk(margin), low, high)

    def build(self, events: Any, at: Any, *, threads: int | None = None) -> FeatureMatrix:
        """Return the plan's feature matrix (the model's features and those of its warnings)."""
        return self._read(events, at, threads)[0]

    def columns(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the model's columns of the plan's matrix, shape (n, p)."""
        if self._places is None:
            return values
        return np.ascontiguousarray(values[:, self._places])

    def matrix_of(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """Return the model's matrix from a table that has its features as columns.

        Parameters
        ----------
        frame
            Table with at least the columns of `features`, in any order.

        Raises
        ------
        InputError
            If a column is missing or is not numeric.
        """
        missing = [name for name in self.features if name not in frame.columns]
        if missing:
            raise InputError(
                f"{len(missing)} feature columns are missing, the first is {missing[0]!r}",
                f"the {len(self.features)} features of the model {self.definition.name}",
                "build the features with this bundle",
            )
        try:
            return np.ascontiguousarray(frame[list(self.features)].to_numpy(dtype=np.float32))
        except (TypeError, ValueError) as error:
            raise InputError(
                "a feature column that is not numeric",
                "numbers, with NaN for missing",
                "convert the columns",
            ) from error

    def bands(self, risk: ArrayLike) -> NDArray[np.object_]:
        """Return the name of each risk's band by the model's definition."""
        bounds = np.array([band.at_least for band in self.definition.bands])
        names = np.array([band.name for band in self.definition.bands], dtype=object)
        found: NDArray[np.object_] = names[np.searchsorted(bounds, np.asarray(risk), "right") - 1]
        return found

    def warnings(self, matrix: FeatureMatrix) -> list[str]:
        """Return what to know before using each row of the plan's matrix; empty is nothing."""
        return self.row_warnings(matrix.values, matrix.empty)

    def row_warnings(self, values: NDArray[np.float32], empty: NDArray[np.bool_]) -> list[str]:
        """Return the same of rows of the plan's matrix, and whether any record is visible."""
        return self._checks.texts(values, empty)

    @cached_property
    def _places(self) -> NDArray[np.intp] | None:
        """Places of the model's features in the plan's matrix; None when they are the same."""
        names: Sequence[str] = tuple(self.plan.features)
        if tuple(names) == self.features:
            return None
        place = {name: number for number, name in enumerate(names)}
        return np.array([place[name] for name in self.features], dtype=np.intp)

    @cached_property
    def _checks(self) -> Checks:
        experiment = self.training.get("experiment") or {}
        features = [self.catalogue.features[name] for name in self.plan.features]
        return Checks.of(
            self.definition,
            features,
            measured_before(self.definition, experiment),
            evidence_of_scores(self.definition, self.training),
        )

    def _read(
        self, events: Any, at: Any, threads: int | None
    ) -> tuple[FeatureMatrix, Events | FewRecords | EngineTable]:
        """Return the plan's matrix, and the records that it was made from."""
        read = self._read_at_once(events, at)
        if read is not None:
            return read
        with self._inputs(events, at) as (found, relation), reading("the records"):
            return self._built(found, relation, threads), found

    def _read_at_once(
        self, events: Any, at: Any
    ) -> tuple[FeatureMatrix, FewRecords | EngineTable] | None:
        """Return the matrix of few records, or of records on an engine; None for all others."""
        from magml.engines import EngineTable
        from magml.features.few import read_few

        if isinstance(events, EngineTable):
            from magml.engines.build import build_matrix

            return build_matrix(self.plan, events, at, strict=False), events
        few = None if self.plan.plugins else read_few(events, at)
        return None if few is None else (few.matrix(self.plan), few)

    def _built(self, events: Events, relation: str, threads: int | None) -> FeatureMatrix:
        from magml.features import build_matrix

        # A stray unit costs its value, not the prediction: it is left out, as training would have.
        return build_matrix(self.plan, events, relation, threads=threads, strict=False)

    @contextmanager
    def _inputs(self, events: Any, at: Any) -> Iterator[tuple[Any, str]]:
        """Yield events and the relation of prediction times, which is dropped afterwards."""
        from magml.events import read_events, read_prediction_times

        read = read_events(events)
        relation = read_prediction_times(at, read.connection, read)
        try:
            yield read, relation
        finally:
            read.connection.execute(f"DROP TABLE IF EXISTS {relation}")
