"""What a run has finished so far, kept beside its folder, so that a killed run goes on from there.

``.NAME.unfinished/`` holds one file for each finished outer fold and one for the final model, and
goes when the run stands. The files are named by a hash of everything that decides their content
(definition, rows, features, seed, versions): a run that differs in anything starts anew. They hold
risks and boosters, as the run itself does, and no pickle.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.definitions.model import Estimator
from magml.files import atomic_file, canonical_json, sha256_bytes
from magml.models.fold import Fold, FoldResult

if TYPE_CHECKING:
    from magml.experiments.study import Study
    from magml.models.fit import FittedModel
    from magml.models.search import Trial

_PLAIN = "plain"
_RISK = "risk of "


@dataclass(frozen=True)
class Unfinished:
    """The finished parts of a run.

    Attributes
    ----------
    folder
        Where they are kept.
    key
        Hash of what decides the run's results.
    """

    folder: Path
    key: str

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
        beside = folder.with_name(f".{folder.name}.unfinished")
        return cls(beside, study_key(study, settings))

    def fold(self, number: int) -> FoldResult | None:
        """Return what was kept of an outer fold, or None."""
        found = self._read(f"fold{number}")
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
        self._write(
            f"fold{number}",
            {"fold": record, "names": names, "lacking": result.lacking},
            {**arrays, "low": result.low, "high": result.high},
        )

    def final(self) -> FittedModel | None:
        """Return the final model, if it was fitted."""
        from magml.models.bag import Bag
        from magml.models.fit import FittedModel
        from magml.models.selection import Selection

        found = self._read("final")
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
        self._write(
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

    def remove(self) -> None:
        """Forget everything: the run stands."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.key[:24]}-{name}.npz"

    def _read(self, name: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        """Return the plain values and arrays of a part; None where there is none to be read."""
        try:
            with np.load(self._path(name), allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None  # never written, or by something else: it is computed again
        return json.loads(arrays.pop(_PLAIN).tobytes()), arrays

    def _write(
        self, name: str, plain: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        """Write a part whole or not at all."""
        text = np.frombuffer(json.dumps(plain).encode(), np.uint8)
        with atomic_file(self._path(name)) as beside, beside.open("wb") as file:
            np.savez(file, **{_PLAIN: text, **arrays})  # type: ignore[arg-type]


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
