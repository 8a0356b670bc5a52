"""Signatures of bundles: who vouches for them. A manifest's hash says only that they are whole.

Ed25519 by the library cryptography (extra `sign`). A signature is of the bundle's hash, which
covers every byte of every file, and stands beside the manifest as ``signature.json``; a bundle may
have several. The private key is a PEM file that only its owner can read, the public one a PEM file
that whoever loads bundles holds.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.bundle.manifest import SIGNATURE, VerifiedFiles, read_verified
from magml.errors import BundleError, InputError, MissingDependencyError
from magml.files import atomic_file, new_file, pretty_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT, ALGORITHM = "magml signature", "Ed25519"
#: Public keys (files, or folders of them, separated as in PATH) that every bundle must be signed
#: with one of, whatever command loads it.
VARIABLE = "MAGML_BUNDLE_KEYS"


def make_signing_key(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Make a pair of keys: ``PATH``, to be kept secret, and ``PATH.pub``.

    Each appears whole or not at all, the secret one readable by its owner alone.

    Raises
    ------
    InputError
        If either file exists, or cannot be written.
    """
    crypto = _cryptography()
    private, public = Path(path), Path(f"{os.fspath(path)}.pub")
    key, serial = crypto.ed25519.Ed25519PrivateKey.generate(), crypto.serialization
    secret = key.private_bytes(
        serial.Encoding.PEM, serial.PrivateFormat.PKCS8, serial.NoEncryption()
    )
    shown = key.public_key().public_bytes(
        serial.Encoding.PEM, serial.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        private.parent.mkdir(parents=True, exist_ok=True)
        new_file(private, secret, 0o600)
        try:
            new_file(public, shown, 0o644)
        except OSError:
            private.unlink()  # half a pair is of no use, and nobody has seen it
            raise
    except OSError as error:
        taken = isinstance(error, FileExistsError)
        name = public.name if taken and error.filename2 == str(public) else private.name
        raise InputError(
            f"'{name}' exists" if taken else f"'{name}' cannot be written ({error.strerror})",
            "a new file" if taken else "a place that can be written to",
            "choose another --out",
        ) from error
    return private, public


def sign_bundle(folder: str | os.PathLike[str], key: str | os.PathLike[str]) -> str:
    """Check a bundle, sign it, and return the fingerprint of the key.

    Parameters
    ----------
    folder
        Folder of the bundle.
    key
        Private key, PEM.

    Raises
    ------
    BundleError
        If the bundle is not as it was written.
    InputError
        If the key does not read, or others can read it.
    """
    crypto = _cryptography()
    found = read_verified(folder)
    path = Path(key)
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise InputError(
                f"the key '{path.name}', which others can read",
                "a file for its owner alone",
                f"chmod 600 {path.name}",
            )
        private = crypto.serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(private, crypto.ed25519.Ed25519PrivateKey):
            raise ValueError
    except (OSError, ValueError, TypeError) as error:
        raise _no_key(path, "private") from error
    own = _fingerprint(private.public_key())
    entries = [one for one in _entries(found) if one["key"] != own]
    signature = private.sign(_message(found.hash)).hex()
    entries.append({"key": own, "algorithm": ALGORITHM, "signature": signature})
    value = {"format": FORMAT, "version": 1, "bundle": found.hash, "signatures": entries}
    with atomic_file(Path(folder) / SIGNATURE, outside=folder) as beside:
        beside.write_text(pretty_json(value), encoding="utf-8")
    return own


def required_keys(keys: Iterable[str | os.PathLike[str]] | None) -> list[Path]:
    """Return the public keys asked for: those named, else those of ``MAGML_BUNDLE_KEYS``."""
    named = [Path(key) for key in keys] if keys is not None else []
    if keys is None:
        named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    found: list[Path] = []
    for path in named:
        inside = sorted(path.glob("*.pub")) if path.is_dir() else [path]
        if not inside:
            raise InputError(
                f"no key in '{path.name}'", "public keys, files ending in .pub", "check the folder"
            )
        found += inside
    return found


def check_signature(found: VerifiedFiles, keys: Iterable[Path]) -> str:
    """Return the fingerprint of the key, of those given, that a bundle is signed with.

    Parameters
    ----------
    found
        The bundle's files, checked against its manifest.
    keys
        Public keys, PEM; one of them is enough.

    Raises
    ------
    BundleError
        If the bundle is not signed with any of them, or a signature is not of this bundle.
    InputError
        If a key does not read.
    """
    known = {_fingerprint(key): key for key in map(_public, keys)}
    entries = _entries(found)
    if not entries:
        raise BundleError(
            "the bundle is not signed",
            "a signature by a key you trust",
            "sign it, or get it signed",
        )
    for one in entries:
        key = known.get(one["key"])
        if key is not None and _valid(key, one["signature"], found.hash):
            return str(one["key"])
    raise BundleError(
        "the bundle is not signed with a key you trust, or the signature is not of this bundle",
        f"a valid signature by one of {', '.join(name[:16] for name in sorted(known))}",
        "ask who made it, and do not use it until you know",
    )


def _valid(key: Ed25519PublicKey, signature: str, bundle: str) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(bytes.fromhex(signature), _message(bundle))
    except (InvalidSignature, ValueError):
        return False
    return True


def _entries(found: VerifiedFiles) -> list[dict[str, str]]:
    """Return the signatures beside a manifest, their form checked."""
    if found.signature is None:
        return []
    try:
        value = json.loads(found.signature)
        if value["format"] != FORMAT or value["version"] != 1:
            raise ValueError
        return [
            {name: str(one[name]) for name in ("key", "algorithm", "signature")}
            for one in value["signatures"]
            if one["algorithm"] == ALGORITHM
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{SIGNATURE} does not read", "a signature as magml wrote it", "sign the bundle again"
        ) from error


def _message(bundle: str) -> bytes:
    return f"{FORMAT} 1\n{bundle}\n".encode()


def _fingerprint(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _public(path: Path) -> Ed25519PublicKey:
    crypto = _cryptography()
    try:
        key = crypto.serialization.load_pem_public_key(path.read_bytes())
        if not isinstance(key, crypto.ed25519.Ed25519PublicKey):
            raise ValueError
    except (OSError, ValueError) as error:
        raise _no_key(path, "public") from error
    return key


def _no_key(path: Path, kind: str) -> InputError:
    return InputError(
        f"'{path.name}', which is no {kind} Ed25519 key",
        f"a PEM file with a {kind} key",
        "make a pair with magml signing-key",
    )


def _cryptography() -> Any:
    """Return the parts of cryptography in use."""
    try:
        from types import SimpleNamespace

        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingDependencyError(
            "cryptography is not installed", "the extra sign", "pip install 'magml[sign]'"
        ) from error
    return SimpleNamespace(serialization=serialization, ed25519=ed25519)
