"""What a run has finished so far, kept beside its folder, so that a killed run goes on from there.

``.NAME.unfinished/`` holds a file for each range of people whose features are built
(`magml.features.kept`), one for each finished outer fold and one for the final model
(`magml.parts`). What decides a fold is definition, rows, features, seed and versions. The files
hold features, risks and boosters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.definitions.model import Estimator
from magml.files import canonical_json, sha256_bytes
from magml.models.fold import Fold, FoldResult
from magml.parts import Parts

if TYPE_CHECKING:
    from magml.experiments.study import Study
    from magml.models.fit import FittedModel
    from magml.models.search import Trial

_RISK = "risk of "


class Unfinished(Parts):
    """The finished parts of a run."""

    @classmethod
    def of(cls, folder: Path, study: Study, settings: Mapping[str, Any]) -> Unfinished:
        """Return the place for a run that will stand at `folder`.

        Parameters
        ----------
        folder
            Folder of the run.
        study
            Definitions, rows and features.
        settings
            What else decides the result, as JSON values: seed, quick, peers.
        """
        return cls(cls.beside(folder), study_key(study, settings))

    def fold(self, number: int) -> FoldResult | None:
        """Return what was kept of an outer fold, or None."""
        found = self.read(f"fold{number}")
        if found is None:
            return None
        plain, arrays = found
        record = plain["fold"]
        return FoldResult(
            Fold(
                **{
                    **record,
                    "features": tuple(record["features"]),
                    "estimator": Estimator(**record["estimator"]),
                    "calibrator": _calibrator(record["calibrator"]),
                    "trials": _trials(record["trials"]),
                }
            ),
            {name: arrays[_RISK + str(place)] for place, name in enumerate(plain["names"])},
            arrays["low"],
            arrays["high"],
            plain["lacking"],
        )

    def keep_fold(self, number: int, result: FoldResult) -> None:
        """Keep an outer fold's result."""
        record = {
            **vars(result.fold),
            "estimator": result.fold.estimator.model_dump(mode="json"),
            "calibrator": result.fold.calibrator.to_dict(),
            "trials": [asdict(trial) for trial in result.fold.trials],
        }
        names = list(result.risks)
        arrays = {_RISK + str(place): result.risks[name] for place, name in enumerate(names)}
        self.write(
            f"fold{number}",
            {"fold": record, "names": names, "lacking": result.lacking},
            {**arrays, "low": result.low, "high": result.high},
        )

    def final(self) -> FittedModel | None:
        """Return the final model, if it was fitted."""
        from magml.models.bag import Bag
        from magml.models.fit import FittedModel
        from magml.models.selection import Selection

        found = self.read("final")
        if found is None:
            return None
        plain, arrays = found
        members = [arrays[f"member{k}"].tobytes() for k in range(plain["members"])]
        selection = plain["selection"]
        return FittedModel(
            Bag.from_bytes(members, plain["features"], threads=plain["threads"]),
            _calibrator(plain["calibrator"]),
            Estimator(**plain["estimator"]),
            Selection(
                arrays["kept"],
                tuple(selection["empty"]),
                tuple(selection["constant"]),
                selection["duplicates"],
            ),
            _trials(plain["trials"]),
            arrays["margins"],
            arrays["risks"],
        )

    def keep_final(self, fitted: FittedModel) -> None:
        """Keep the final model."""
        members = fitted.bag.to_bytes()
        self.write(
            "final",
            {
                "members": len(members),
                "features": list(fitted.features),
                "threads": fitted.bag.threads,
                "calibrator": fitted.calibrator.to_dict(),
                "estimator": fitted.estimator.model_dump(mode="json"),
                "selection": {
                    "empty": fitted.selection.empty,
                    "constant": fitted.selection.constant,
                    "duplicates": fitted.selection.duplicates,
                },
                "trials": [asdict(trial) for trial in fitted.trials],
            },
            {
                **{f"member{k}": np.frombuffer(data, np.uint8) for k, data in enumerate(members)},
                "kept": fitted.selection.kept,
                "margins": fitted.margins,
                "risks": fitted.risks,
            },
        )


def study_key(study: Study, settings: Mapping[str, Any]) -> str:
    """Return a hash of everything that decides the results of a study's folds."""
    from magml.experiments.fingerprint import library_versions

    definitions, rows = study.definitions, study.rows
    parts: list[Any] = [
        definitions.experiment.model_dump(mode="json"),
        definitions.model.model_dump(mode="json"),
        list(study.matrix.names),
        list(study.features),
        dict(settings),
        library_versions(),
    ]
    arrays = [study.matrix.values, rows.labels, rows.persons, rows.evaluated]
    arrays += [study.folds_by, study.resampled_by]
    if study.split is not None:
        arrays += [study.split.fold, *study.split.train]
    if study.untested is not None:
        arrays.append(study.untested.values)
    parts += [sha256_bytes(_bytes(array)) for array in arrays]
    return sha256_bytes(canonical_json(parts).encode())


def _bytes(array: Any) -> bytes:
    """Return an array's content; of texts their JSON."""
    values = np.ascontiguousarray(array)
    if values.dtype.hasobject:
        return canonical_json([str(value) for value in values.ravel()]).encode()
    return values.tobytes()


def _calibrator(value: Mapping[str, Any]) -> Any:
    from magml.models.calibration import Calibrator

    return Calibrator.from_dict(value)


def _trials(values: Sequence[Mapping[str, Any]]) -> tuple[Trial, ...]:
    from magml.models.search import Trial

    return tuple(Trial(**value) for value in values)
