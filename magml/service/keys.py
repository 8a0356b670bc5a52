"""API keys: made once, shown once, kept as hashes."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

from magml.errors import InputError
from magml.files import atomic_file, pretty_json


def make_key(file: str | os.PathLike[str], name: str) -> str:
    """Add a key to a file and return it; only its hash is kept.

    A key has 256 random bits, so a plain SHA-256 of it cannot be guessed back.

    Parameters
    ----------
    file
        JSON file of names and hashes; made, readable by its owner only, if there is none.
    name
        Who will use it; a name that stands already is replaced, which retires its old key.

    Raises
    ------
    InputError
        If the name is empty or the file is not one of keys.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "keys.json"
    >>> key = make_key(file, "ward 7")
    >>> caller(read_keys(file), key), caller(read_keys(file), "guess")
    ('ward 7', None)
    """
    if not name.strip() or len(name) > 100:
        raise InputError("a key without a name of 1 to 100 characters", "who will use it")
    path = Path(file)
    known = read_keys(path) if path.exists() else {}
    key = "magml_" + secrets.token_urlsafe(32)
    with atomic_file(path) as beside:
        beside.write_text(pretty_json({**known, name: _hash(key)}), encoding="utf-8")
    path.chmod(0o600)
    return key


def read_keys(file: str | os.PathLike[str]) -> dict[str, str]:
    """Return hashes by name.

    Raises
    ------
    InputError
        If the file is not one of keys.
    """
    path = Path(file)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{path.name}' does not read as keys",
            "a file that magml serve-key made",
            "make it with magml serve-key",
        ) from error
    fits = isinstance(value, dict) and all(
        isinstance(hashed, str) and len(hashed) == 64 for hashed in value.values()
    )
    if not fits:
        raise InputError(
            f"'{path.name}' is no file of keys", "names with hashes", "use magml serve-key"
        )
    return {str(name): hashed for name, hashed in value.items()}


def caller(keys: dict[str, str], key: str) -> str | None:
    """Return whose key it is, None if nobody's; every hash is compared, in constant time."""
    found = None
    hashed = _hash(key)
    for name, known in keys.items():
        if hmac.compare_digest(hashed, known):
            found = name
    return found


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
