"""The secret key of a record: in a file of its own, readable by its owner alone."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from magml.errors import InputError
from magml.files import new_file

_BYTES = 32


def read_key(path: str | os.PathLike[str]) -> bytes:
    """Return the key that a file holds.

    Parameters
    ----------
    path
        File with 64 hexadecimal digits, readable by its owner alone.

    Returns
    -------
    bytes
        32 bytes.

    Raises
    ------
    InputError
        If there is no such file, others can read it, or it holds no key.
    """
    file = Path(path)
    try:
        # The descriptor is what is checked and read, so that nobody can swap the file between.
        with file.open("rb") as handle:
            mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
            text = handle.read(1024)
    except OSError as error:
        raise InputError(
            f"the key file '{file.name}' cannot be read ({error.strerror})",
            "the key that the record was begun with",
            "name it with --key; without it the record cannot be checked",
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise InputError(
            f"the key file '{file.name}' has the permissions {mode:04o}",
            "0600: readable by its owner alone",
            f"chmod 600 the file, and take a new record if others may have read it: {file.name}",
        )
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise InputError(
            f"'{file.name}' holds no key", f"{2 * _BYTES} hexadecimal digits", "restore the key"
        )
    return key


def make_key(path: str | os.PathLike[str]) -> bytes:
    """Write a new random key to a file that does not exist yet, and return it.

    Raises
    ------
    InputError
        If the file exists or cannot be written.
    """
    file = Path(path)
    key = secrets.token_bytes(_BYTES)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new_file(file, f"{key.hex()}\n".encode(), 0o600)
    except OSError as error:
        raise InputError(
            f"the key file '{file.name}' cannot be written ({error.strerror})",
            "a new file in a place that can be written to",
            "choose another place with --key",
        ) from error
    return key


def derive(key: bytes, purpose: str) -> bytes:
    """Return a key for one purpose, so that no two uses of the secret can be confused.

    Examples
    --------
    >>> derive(b"k", "chain") == derive(b"k", "head")
    False
    """
    return hmac.new(key, f"magml review {purpose}".encode(), hashlib.sha256).digest()
