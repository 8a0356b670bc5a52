"""Finished parts of work that is not finished, kept so that a killed process goes on from there.

Each part is a file in a hidden folder beside the output, whole or not at all, and named by a hash
of everything that decides its content: work that differs in anything finds none and starts anew.
Parts hold arrays and JSON, no pickle. The folder goes when the output stands.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.files import atomic_file

_PLAIN = "plain"


@dataclass(frozen=True)
class Parts:
    """The finished parts of some work.

    Attributes
    ----------
    folder
        Where they are kept.
    key
        Hash of what decides their content.
    """

    folder: Path
    key: str

    @staticmethod
    def beside(output: Path) -> Path:
        """Return the folder for the parts of an output.

        Examples
        --------
        >>> Parts.beside(Path("runs/demo")).name
        '.demo.unfinished'
        """
        return output.with_name(f".{output.name}.unfinished")

    def remove(self) -> None:
        """Forget everything: the output stands."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def names(self, start: str) -> list[str]:
        """Return the names of the parts kept that begin so."""
        own = f"{self.key[:24]}-"
        found = self.folder.glob(f"{own}{start}*.npz")
        return sorted(path.stem.removeprefix(own) for path in found)

    def read(self, name: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        """Return the plain values and arrays of a part; None where there is none to be read."""
        try:
            with np.load(self._path(name), allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None  # never written, or by something else: it is computed again
        return json.loads(arrays.pop(_PLAIN).tobytes()), arrays

    def write(
        self, name: str, plain: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        """Write a part whole or not at all."""
        text = np.frombuffer(json.dumps(plain).encode(), np.uint8)
        with atomic_file(self._path(name)) as beside, beside.open("wb") as file:
            np.savez(file, **{_PLAIN: text, **arrays})  # type: ignore[arg-type]

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.key[:24]}-{name}.npz"
