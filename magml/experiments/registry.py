"""Which version of a registered model serves: versions, aliases, promoting and rolling back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from magml.errors import InputError, TrackingError
from magml.experiments.store import default_tracking_uri, session

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The version that serves, the one before it, and the one that is scored in silence.
CHAMPION, PREVIOUS, SILENT = "champion", "previous", "silent"
_REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class Moved:
    """An alias that was moved.

    Attributes
    ----------
    model, alias
        The registered model and the alias.
    before, after
        Versions; None where the alias stood nowhere.
    bundle
        Hash of the bundle of the version that the alias now names.
    """

    model: str
    alias: str
    before: str | None
    after: str
    bundle: str | None


def registered_version(reference: str, tracking_uri: str | None = None) -> str:
    """Return the version that ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` names now.

    Raises
    ------
    InputError
        If the reference is of neither form.
    TrackingError
        If the store does not answer or holds no such model, alias or version.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise InputError(
            f"the reference {reference!r}",
            "models:/NAME@ALIAS or models:/NAME/VERSION",
            "correct the reference",
        )
    if found["version"] is not None:
        return found["version"]
    with session(tracking_uri or default_tracking_uri()) as client:
        return str(client.get_model_version_by_alias(found["name"], found["alias"]).version)


def promote(
    model: str,
    version: str | None = None,
    *,
    silent: bool = False,
    tracking_uri: str | None = None,
) -> Moved:
    """Put a version into service, or into its silent period.

    Parameters
    ----------
    model
        Name of the registered model.
    version
        Its version; by default the one in its silent period, else the newest.
    silent
        Only give it the alias ``silent``: a service scores with it beside the champion, keeps the
        scores and raises no alert.
    tracking_uri
        The MLflow store.

    Returns
    -------
    Moved

    Raises
    ------
    InputError
        If that version serves already.
    TrackingError
        If the store does not answer or holds no such model or version.
    """
    with session(tracking_uri or default_tracking_uri()) as client:
        aliases = _aliases(client, model)
        chosen = version or (None if silent else aliases.get(SILENT)) or _newest(client, model)
        alias = SILENT if silent else CHAMPION
        before = aliases.get(alias)
        if before == chosen:
            raise InputError(
                f"version {chosen} of {model} is {alias} already",
                "another version",
                "name the version with --version",
            )
        bundle = _bundle(client, model, chosen)  # asks before anything is moved
        if not silent and before is not None:
            client.set_registered_model_alias(model, PREVIOUS, before)
        client.set_registered_model_alias(model, alias, chosen)
        if not silent and aliases.get(SILENT) == chosen:
            client.delete_registered_model_alias(model, SILENT)
        return Moved(model, alias, before, chosen, bundle)


def rollback(model: str, *, tracking_uri: str | None = None) -> Moved:
    """Put the version before the champion back into service; a second call undoes the first.

    Raises
    ------
    InputError
        If no version was promoted before.
    TrackingError
        If the store does not answer or holds no such model.
    """
    with session(tracking_uri or default_tracking_uri()) as client:
        aliases = _aliases(client, model)
        before, chosen = aliases.get(CHAMPION), aliases.get(PREVIOUS)
        if chosen is None:
            raise InputError(
                f"{model} has no version that served before",
                "a model that was promoted at least once",
                "promote a version by number with magml promote --version",
            )
        bundle = _bundle(client, model, chosen)
        client.set_registered_model_alias(model, CHAMPION, chosen)
        if before is not None:
            client.set_registered_model_alias(model, PREVIOUS, before)
        return Moved(model, CHAMPION, before, chosen, bundle)


def _aliases(client: MlflowClient, model: str) -> dict[str, str]:
    return {
        alias: str(version) for alias, version in client.get_registered_model(model).aliases.items()
    }


def _newest(client: MlflowClient, model: str) -> str:
    found = client.search_model_versions(f"name = '{_plain(model)}'")
    if not found:
        raise TrackingError(f"{model} has no versions", "a registered version", "train it first")
    return str(max(int(version.version) for version in found))


def _bundle(client: MlflowClient, model: str, version: str) -> str | None:
    found: str | None = client.get_model_version(model, version).tags.get("magml.bundle")
    return found


def _plain(name: str) -> str:
    """Return a name that fits between quotes of MLflow's filter language."""
    if not re.fullmatch(r"[\w .\-]+", name):
        raise InputError(f"the model name {name!r}", "letters, digits, dots and dashes")
    return name
