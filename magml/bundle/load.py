"""Loading a model from a bundle's folder or from MLflow's registry."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.bundle.manifest import MANIFEST, VerifiedFiles, read_verified
from magml.bundle.model import Model
from magml.bundle.shipped import bundle_folder, shipped_bundles
from magml.bundle.sign import check_signature, required_keys
from magml.bundle.write import member_name
from magml.errors import BundleError, DefinitionError, nearest
from magml.leftovers import clean

if TYPE_CHECKING:
    from magml.definitions import Catalogue

_SCHEMES = ("models:/", "runs:/", "mlflow-artifacts:/")
#: What of a concept people read and no feature is computed from.
_FOR_PEOPLE = {
    "label",
    "direction",
    "mechanism",
    "modifiable",
    "consequence",
    "reveals",
    "constraint",
    "evidence",
    "verified",
    "note",
    "reference",
    "usual",
    "features",
}


def load(
    reference: str | os.PathLike[str],
    *,
    catalogue: Catalogue | None = None,
    threads: int = 1,
    tracking_uri: str | None = None,
    keys: Iterable[str | os.PathLike[str]] | None = None,
) -> Model:
    """Load a model and check that its bundle is as it was written.

    Parameters
    ----------
    reference
        Path of a bundle's folder, the name of a bundle that comes with magml
        (``low_body_status``), or a model of MLflow's registry: ``models:/NAME@ALIAS`` or
        ``models:/NAME/VERSION``.
    catalogue
        A catalogue that the bundle must agree with, as far as the model's features go; by default
        the bundle's own is used and nothing is compared.
    threads
        Threads that score; never changes a result.
    tracking_uri
        MLflow store of the reference; default the variable ``MLFLOW_TRACKING_URI``, else
        ``mlflow.db`` in the working directory.
    keys
        Public keys (`magml.bundle.sign`): the bundle must be signed with one of them. By default
        those that the variable ``MAGML_BUNDLE_KEYS`` names; without any, no signature is asked for.

    Returns
    -------
    Model

    Raises
    ------
    BundleError
        If the bundle is incomplete, was changed, is of an unknown version or does not agree with
        `catalogue`; if the registry does not hold it; or if a signature is asked for and there is
        no valid one.

    Examples
    --------
    >>> model = load("models:/hypomagnesemia_screen@champion")    # doctest: +SKIP
    """
    model = model_of(read_bundle(reference, tracking_uri=tracking_uri, keys=keys), threads)
    if catalogue is not None:
        check_catalogue(model, catalogue)
    return model


def read_bundle(
    reference: str | os.PathLike[str],
    *,
    tracking_uri: str | None = None,
    keys: Iterable[str | os.PathLike[str]] | None = None,
) -> VerifiedFiles:
    """Return the files of a bundle, found to be as they were written and signed as asked.

    Parameters
    ----------
    reference, tracking_uri, keys
        As for `load`.

    Raises
    ------
    BundleError
        As `load`.
    """
    text = os.fspath(reference)
    if text.startswith(_SCHEMES):
        with tempfile.TemporaryDirectory(prefix="magml-") as folder:
            from magml.experiments.store import download

            found = find_bundle(download(text, folder, tracking_uri))
            files = read_verified(found)
    else:
        files = read_verified(_found(text))
    trusted = required_keys(keys)
    if trusted or keys is not None:
        check_signature(files, trusted)
    return files


def _found(reference: str) -> Path:
    """Return the folder of a bundle; a bare name that stands for none is told what is shipped."""
    folder = bundle_folder(reference)
    if not folder.exists():
        clean(folder)  # whoever was killed while replacing it left it aside
    if len(folder.parts) == 1 and not folder.exists():
        raise BundleError(
            f"no folder '{folder.name}', and no bundle of that name comes with magml",
            f"the folder of a bundle, or {nearest(folder.name, shipped_bundles())}",
            "check the path of the bundle",
        )
    return folder


def find_bundle(folder: Path) -> Path:
    """Return the one bundle inside the folder of a registered model.

    Raises
    ------
    BundleError
        If there is none, or more than one.
    """
    found = sorted(path.parent for path in folder.rglob(MANIFEST))
    if len(found) != 1:
        raise BundleError(
            f"the registered model holds {len(found)} bundles",
            "one bundle, as magml registers it",
            "register the model with magml train",
        )
    return found[0]


def check_catalogue(model: Model, catalogue: Catalogue) -> None:
    """Refuse a catalogue in which the model's features mean something else.

    Labels, citations and directions may differ, and so may concepts that the model does not use.

    Raises
    ------
    BundleError
        Naming the features or concepts that differ.
    """
    ours = model.catalogue
    plugins = {plugin.name for plugin in ours.plugins}  # from packages, not from a catalogue
    lost = [name for name in model.features if name not in {*catalogue.features, *plugins}]
    if lost:
        raise BundleError(
            f"the catalogue lacks {len(lost)} features of the bundle: {', '.join(lost[:5])}",
            "the catalogue the model was trained with",
            "leave the catalogue out (the bundle has its own), or train again with this one",
        )
    differ = [name for name in _used(model) if _meaning(ours, name) != _meaning(catalogue, name)]
    if differ:
        raise BundleError(
            f"the catalogue defines {len(differ)} concepts otherwise than the bundle: "
            f"{', '.join(differ[:5])}",
            "the catalogue the model was trained with",
            "leave the catalogue out (the bundle has its own), or train again with this one",
        )


def _used(model: Model) -> list[str]:
    """Return the concepts and derived features that the model's features are made of."""
    found: dict[str, None] = {}
    queue = list(model.features)
    while queue:
        feature = model.catalogue.features[queue.pop()]
        if feature.concept in found:
            continue
        found[feature.concept] = None
        if feature.derived:
            queue.extend(model.catalogue.derived[feature.name].input_names)
    return sorted(found)


def _meaning(catalogue: Catalogue, name: str) -> dict[str, Any] | None:
    """Return what of a concept or derived feature decides its values."""
    item = catalogue.by_name.get(name) or catalogue.derived.get(name)
    if item is None:
        return None
    return {k: v for k, v in item.model_dump(mode="json").items() if k not in _FOR_PEOPLE}


#: What parsing raises where the hashes are right and the content is not what magml writes.
_MALFORMED = (
    AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError,
)  # fmt: skip


def model_of(verified: VerifiedFiles, threads: int = 1) -> Model:
    """Return the model that the verified files of a bundle hold."""
    try:
        return _parsed(verified, threads)
    except _MALFORMED as error:
        raise BundleError(
            f"the bundle does not read ({type(error).__name__})",
            "a bundle written by this version of magml",
            "use the magml that wrote the bundle, or train again",
        ) from error


def _parsed(verified: VerifiedFiles, threads: int) -> Model:
    from magml.definitions.catalogue import Catalogue
    from magml.definitions.model import ModelDefinition
    from magml.definitions.read import parse
    from magml.explanations.baseline import Baseline
    from magml.explanations.reference import ReferenceCohort
    from magml.features import Plan
    from magml.features.plugins import resolve_plugins
    from magml.models.bag import Bag
    from magml.models.calibration import Calibrator

    schema = _json(verified, "schema.json")
    try:
        catalogue = parse(Catalogue, _json(verified, "catalogue.json"), "catalogue.json")
        definition = parse(ModelDefinition, _json(verified, "model.json"), "model.json")
        features = tuple(str(feature["name"]) for feature in schema["features"])
        members = int(schema["members"])
        stated = str(schema["plan_hash"])
        plan = Plan.from_dict(_json(verified, "plan.json"))
    except (DefinitionError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleError(
            f"the bundle does not read ({type(error).__name__}: {error})",
            "a bundle written by this version of magml",
            "use the magml that wrote the bundle, or train again",
        ) from error
    if plan.hash != stated:
        raise BundleError(
            f"the hash of the bundle's plan is {plan.hash[:12]}...",
            f"{stated[:12]}..., as its schema says",
            "use the magml that wrote the bundle, or train again",
        )
    if plan.plugins:
        resolve_plugins(plan.plugins)  # a bundle whose plug-in is missing or changed is refused
    bag = Bag.from_bytes(
        [_content(verified, member_name(number)) for number in range(members)],
        features,
        threads=threads,
    )
    return Model(
        hash=verified.hash,
        definition=definition,
        catalogue=catalogue,
        plan=plan,
        bag=bag,
        calibrator=Calibrator.from_dict(_json(verified, "calibrator.json")),
        baseline=Baseline.from_dict(_json(verified, "explanations.json")),
        training=_json(verified, "training.json"),
        card=_json(verified, "card.json"),
        card_text=_content(verified, "card.md").decode(),
        reference=(
            ReferenceCohort.from_dict(_json(verified, "reference.json"))
            if verified.version >= 2
            else None
        ),
    )


def _content(verified: VerifiedFiles, name: str) -> bytes:
    """Return a file of the bundle that must be there."""
    if name not in verified.files:
        raise BundleError(
            f"the bundle holds no {name}", "all files of a bundle", "train the model again"
        )
    return verified.files[name]


def _json(verified: VerifiedFiles, name: str) -> dict[str, Any]:
    """Return a parsed file of the bundle."""
    try:
        value = json.loads(_content(verified, name))
    except ValueError as error:
        raise BundleError(f"{name} is not JSON", "a file magml wrote", "train again") from error
    if not isinstance(value, dict):
        raise BundleError(f"{name} is not an object", "a file magml wrote", "train again")
    return value
