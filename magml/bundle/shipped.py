"""Bundles that come with the package, and when one must be trained again.

A shipped bundle holds its own catalogue and compiled plan, so a later catalogue leaves its scores
as they are. It is trained again (``make bundle``) when the simulator, its own definition or its
experiment changes, or when the catalogue gives a concept that it uses another meaning: then the
bundle would still be right by its own catalogue, and differ from what the pages describe.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.bundle.manifest import MANIFEST
from magml.errors import BundleError

if TYPE_CHECKING:
    from magml.bundle.model import Model

_PACKAGE = Path(__file__).resolve().parent.parent
#: In a checkout, then in the installed package.
_FOLDERS = (_PACKAGE.parent / "bundles", _PACKAGE / "_bundles")


def shipped_bundles() -> dict[str, Path]:
    """Return the folders of the bundles that come with magml, by name.

    Examples
    --------
    >>> all((folder / "manifest.json").is_file() for folder in shipped_bundles().values())
    True
    """
    found: dict[str, Path] = {}
    for folder in _FOLDERS:
        for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
            found.setdefault(manifest.parent.name, manifest.parent)
    return found


def bundle_folder(reference: str | os.PathLike[str]) -> Path:
    """Return the folder of a bundle, given its path or the name of a shipped one.

    A folder of that name goes before a shipped bundle.
    """
    path = Path(reference)
    if path.exists() or len(path.parts) != 1:
        return path
    return shipped_bundles().get(path.name, path)


def reasons_to_rebuild(model: Model) -> tuple[str, ...]:
    """Return why a shipped bundle is no longer what its definitions would train; empty: it is.

    Parameters
    ----------
    model
        A shipped bundle, loaded.
    """
    from magml.bundle.load import check_catalogue
    from magml.definitions import read_catalogue, read_experiment, read_model
    from magml.experiments.simulated import simulator_facts

    found = []
    name = model.definition.name
    stated: dict[str, Any] = dict(model.training["data"])
    for key, value in simulator_facts().items():
        if stated.get(key) != value:
            found.append(f"{key}: {str(stated.get(key))[:12]} in the bundle, now {value[:12]}")
    if model.definition != read_model(name):
        found.append(f"models/{name}.yaml is not the definition in the bundle")
    if model.training["experiment"] != read_experiment(name).model_dump(mode="json"):
        found.append(f"experiments/{name}.yaml is not the experiment in the bundle")
    try:
        check_catalogue(model, read_catalogue())
    except BundleError as error:
        found.append(error.seen)
    return tuple(found)
