"""The manifest of a bundle: every file with its size and SHA-256, checked before anything is used.

A bundle is read as a whole into memory, and what was checked is what is parsed: a file that
changes between the check and its use cannot slip in.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from magml.errors import BundleError, InputError
from magml.files import canonical_json, pretty_json, sha256_bytes
from magml.limits import VARIABLE, check_document, limits

#: What the manifest says it is, the layout of files that is written, and those that are read.
#: Version 2 added ``reference.json``, the percentiles of the cohort; without it a value's place
#: among them is not known, and all else is as before.
FORMAT = "magml bundle"
VERSION = 2
READABLE = (1, 2)
MANIFEST = "manifest.json"
#: Signatures of the manifest's hash, which cannot stand in the manifest (`magml.bundle.sign`).
SIGNATURE = "signature.json"


@dataclass(frozen=True)
class VerifiedFiles:
    """A bundle's files, read and found to be as they were written.

    Attributes
    ----------
    hash
        SHA-256 of the manifest's content: it names the bundle.
    files
        Content by path inside the bundle, the manifest left out.
    version
        The layout of its files.
    signature
        Content of ``signature.json``, not checked; None where there is none.
    """

    hash: str
    files: dict[str, bytes]
    version: int = VERSION
    signature: bytes | None = None


def write_manifest(folder: str | os.PathLike[str]) -> str:
    """Write ``manifest.json`` for all files of a folder and return the bundle's hash.

    Parameters
    ----------
    folder
        Folder that holds the bundle's files.

    Returns
    -------
    str
        SHA-256 of the canonical JSON of format, version and files.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "model.json").write_text("{}")
    >>> found = write_manifest(folder)
    >>> read_verified(folder).hash == found, read_verified(folder).files
    (True, {'model.json': b'{}'})
    """
    root = Path(folder)
    files = {name: _entry((root / name).read_bytes()) for name in _content(root)}
    content: dict[str, Any] = {"format": FORMAT, "version": VERSION, "files": files}
    content["hash"] = manifest_hash(content)
    (root / MANIFEST).write_text(pretty_json(content), encoding="utf-8")
    return str(content["hash"])


def read_verified(folder: str | os.PathLike[str]) -> VerifiedFiles:
    """Read a bundle's files and check each against the manifest.

    Parameters
    ----------
    folder
        Folder of the bundle.

    Returns
    -------
    VerifiedFiles

    Raises
    ------
    BundleError
        If there is no manifest, its version is unknown, or a file was changed, added or lost.
    """
    root = Path(folder)
    manifest = _manifest(root)
    entries = manifest["files"]
    for name in entries:
        _check_name(name)
    present = set(_content(root))
    _refuse("missing", sorted(set(entries) - present))
    _refuse("not in the manifest", sorted(present - set(entries)))
    most = limits().bundle
    if sum((root / name).stat().st_size for name in entries) > most:
        raise BundleError(
            f"the bundle's files hold more than {most} bytes",
            "at most the limit 'bundle'",
            f"check where it is from; if it is right, raise the limit with {VARIABLE}=bundle=SIZE",
        )
    files: dict[str, bytes] = {}
    changed = []
    for name in sorted(entries):
        files[name] = (root / name).read_bytes()
        if _entry(files[name]) != entries[name]:
            changed.append(name)
    _refuse("changed since it was written", changed)
    found = manifest_hash(manifest)
    if manifest.get("hash") != found:
        raise BundleError(
            f"the manifest's hash {str(manifest.get('hash'))[:12]}... is not that of its content "
            f"({found[:12]}...)",
            "a manifest as magml wrote it",
            "restore the bundle from where it was trained, or train again",
        )
    signature = root / SIGNATURE
    _check_size(signature)
    signed = signature.read_bytes() if signature.is_file() else None
    return VerifiedFiles(found, files, int(manifest["version"]), signed)


def manifest_hash(manifest: dict[str, Any]) -> str:
    """Return the hash of a manifest's content, its own hash left out."""
    content = {key: manifest[key] for key in ("format", "version", "files")}
    return sha256_bytes(canonical_json(content).encode())


def _manifest(root: Path) -> dict[str, Any]:
    """Return the parsed manifest, its form and version checked."""
    if not root.is_dir():
        raise BundleError(
            f"no folder '{root.name}'", "the folder of a bundle", "check the path of the bundle"
        )
    path = root / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise BundleError(
            f"the folder '{root.name}' holds no {MANIFEST}",
            "a bundle that magml wrote",
            "name the bundle's own folder, or train again",
        )
    _check_size(path)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(
            f"{MANIFEST} is not JSON", "a manifest as magml wrote it", "restore the bundle"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(
            f"{MANIFEST} is not that of a magml bundle",
            f"the format {FORMAT!r}",
            "name the folder of a bundle",
        )
    if manifest.get("version") not in READABLE:
        raise BundleError(
            f"bundle format version {manifest.get('version')!r}",
            f"version {' or '.join(map(str, READABLE))}, which this magml reads",
            "use the magml that wrote the bundle, or train again",
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or not files:
        raise BundleError(f"{MANIFEST} lists no files", "the bundle's files", "restore the bundle")
    return manifest


def _check_size(path: Path) -> None:
    """Refuse a document of a bundle that is too large to be parsed."""
    try:
        check_document(path)
    except InputError as error:
        raise BundleError(error.seen, error.expected, error.action) from error


def _content(root: Path) -> list[str]:
    """Return the paths of what a manifest lists: all but itself and the signatures of it."""
    return [name for name in _listed(root) if name not in (MANIFEST, SIGNATURE)]


def _listed(root: Path) -> list[str]:
    """Return the paths of all files under a folder, with links refused."""
    found = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            raise BundleError(
                f"the bundle holds a link, '{name}'",
                "plain files only",
                "restore the bundle from where it was trained",
            )
        if path.is_file():
            found.append(name)
    return found


def _check_name(name: str) -> None:
    """Refuse a path that leads out of the bundle."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
        raise BundleError(
            f"the manifest lists '{name}', which leads out of the bundle",
            "paths inside the bundle",
            "do not use this bundle; restore it from where it was trained",
        )


def _entry(data: bytes) -> dict[str, Any]:
    return {"sha256": sha256_bytes(data), "size": len(data)}


def _refuse(what: str, names: list[str]) -> None:
    """Raise if any file is other than the manifest says."""
    if not names:
        return
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    raise BundleError(
        f"{len(names)} of the bundle's files {'are' if len(names) > 1 else 'is'} {what}: "
        f"{', '.join(names[:5])}{more}",
        "every file as the manifest lists it, and no other",
        "restore the bundle from where it was trained, or train again",
    )
