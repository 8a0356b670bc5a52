"""Writing a bundle: boosters as UBJ, everything else as JSON, equal bytes for equal training."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.bundle.card_words import card_markdown
from magml.bundle.manifest import MANIFEST, write_manifest
from magml.bundle.training import TrainingSummary
from magml.definitions.read import definition_hash
from magml.errors import BundleError
from magml.files import atomic_directory

if TYPE_CHECKING:
    from magml.definitions import Catalogue, ModelDefinition
    from magml.explanations.baseline import Baseline
    from magml.explanations.reference import ReferenceCohort
    from magml.features import Plan
    from magml.models.bag import Bag
    from magml.models.calibration import Calibrator


@dataclass(frozen=True, eq=False)
class BundleContents:
    """Everything a bundle holds.

    Attributes
    ----------
    definition
        The model's definition.
    catalogue
        The catalogue its features were compiled from.
    plan
        The compiled plan; it may hold more features than the model uses (see
        `magml.bundle.warnings.check_features`).
    bag
        The boosters; `bag.features` are the model's features in order.
    calibrator
        Margin to risk.
    baseline
        Where explanations start.
    training
        Summary of the training.
    card
        The model card as plain values (`magml.bundle.card.model_card`).
    reference
        Percentiles of the plan's features over the cohort.
    """

    definition: ModelDefinition
    catalogue: Catalogue
    plan: Plan
    bag: Bag
    calibrator: Calibrator
    baseline: Baseline
    training: TrainingSummary
    card: Mapping[str, Any]
    reference: ReferenceCohort


def write_bundle(folder: str | os.PathLike[str], contents: BundleContents) -> str:
    """Write a bundle and return its hash; the folder appears whole or not at all.

    Parameters
    ----------
    folder
        Where the bundle is to stand; a bundle that stands there is replaced.
    contents
        What it holds.

    Returns
    -------
    str
        The bundle's hash.

    Raises
    ------
    BundleError
        If the parts do not fit each other, a number is NaN or infinite, or `folder` exists and is
        not a bundle.
    """
    target = Path(folder)
    foreign = target.exists() and not (target / MANIFEST).is_file()
    if foreign and (not target.is_dir() or any(target.iterdir())):
        raise BundleError(
            f"'{target.name}' exists and is not a bundle",
            "a new folder, or a bundle to replace",
            "choose another folder for the bundle",
        )
    files = bundle_files(contents)
    with atomic_directory(target) as beside:
        for name, data in files.items():
            path = beside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return write_manifest(beside)


def bundle_files(contents: BundleContents) -> dict[str, bytes]:
    """Return the bundle's files as bytes by path, the manifest left out.

    Raises
    ------
    BundleError
        As `write_bundle`.
    """
    _check(contents)
    features = [contents.catalogue.features[name] for name in contents.bag.features]
    values: dict[str, Any] = {
        "model.json": contents.definition.model_dump(mode="json"),
        "catalogue.json": contents.catalogue.model_dump(mode="json"),
        "plan.json": contents.plan.to_dict(),
        "schema.json": {
            "features": [feature.model_dump(mode="json") for feature in features],
            "catalogue_hash": definition_hash(contents.catalogue),
            "model_hash": definition_hash(contents.definition),
            "plan_hash": contents.plan.hash,
            "members": len(contents.bag.boosters),
        },
        "calibrator.json": contents.calibrator.to_dict(),
        "explanations.json": contents.baseline.to_dict(),
        "reference.json": contents.reference.to_dict(),
        "training.json": asdict(contents.training),
        "card.json": dict(contents.card),
    }
    files = {}
    for name, value in values.items():
        try:
            files[name] = _json(value)
        except (TypeError, ValueError) as error:
            raise BundleError(
                f"{name} cannot be written as JSON ({error})",
                "plain values, every number finite",
                "replace numbers that could not be computed by null",
            ) from error
    files["card.md"] = card_markdown(contents.card).encode()
    for number, data in enumerate(contents.bag.to_bytes()):
        files[member_name(number)] = data
    return files


def _json(value: Any) -> bytes:
    """Return indented JSON in the order of keys given: a catalogue's is that of its files."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    return f"{text}\n".encode()


def member_name(number: int) -> str:
    """Return the path of a member inside the bundle.

    Examples
    --------
    >>> member_name(3)
    'boosters/member_03.ubj'
    """
    return f"boosters/member_{number:02d}.ubj"


def _check(contents: BundleContents) -> None:
    """Refuse parts that do not fit each other."""
    features = contents.bag.features
    unknown = [name for name in features if name not in contents.catalogue.features]
    if unknown:
        raise BundleError(
            f"{len(unknown)} features of the model are not in the catalogue: "
            f"{', '.join(unknown[:5])}",
            "features of the catalogue the plan was compiled from",
            "pass the catalogue that the model was trained with",
        )
    planned = set(contents.plan.features)
    missing = [name for name in features if name not in planned]
    if missing:
        raise BundleError(
            f"the plan does not compute {len(missing)} features of the model: "
            f"{', '.join(missing[:5])}",
            "a plan with all of the model's features",
            "compile the plan with the model's features",
        )
    if len(contents.baseline.mean_absolute) != len(features):
        raise BundleError(
            f"the explanations' baseline has {len(contents.baseline.mean_absolute)} features",
            f"{len(features)}, as the model has",
            "compute the baseline with this model",
        )
