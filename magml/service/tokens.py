"""Who calls a CDS service: a token signed by a record system that is on the list."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from magml.errors import InputError, MagmlError, MissingDependencyError

#: Signatures that CDS Hooks 2.0 names, and their wider kin; none that shares a secret.
_ALGORITHMS = ("ES384", "RS384", "ES256", "RS256")
_LEEWAY = 30
#: Longest life of a token that is accepted, and how many are remembered against replay.
_LIFE, _REMEMBERED = 600, 100_000


class Unknown(MagmlError):
    """A caller that is not on the list, or a token that does not hold."""


class Clients:
    """Record systems by issuer, with their public keys; no key is ever fetched."""

    def __init__(self, file: Path, audience: str) -> None:
        try:
            import jwt
        except ImportError as error:
            raise MissingDependencyError(
                "PyJWT is not installed", "the extra serve", "pip install 'magml[serve]'"
            ) from error
        self._jwt, self._audience = jwt, audience
        try:
            listed: Any = json.loads(file.read_text(encoding="utf-8"))
            self._keys = {
                str(issuer): {key["kid"]: jwt.PyJWK(key) for key in keys["keys"]}
                for issuer, keys in listed.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
            raise InputError(
                f"'{file.name}' does not read as a list of clients",
                'JSON: {"https://ehr.example": {"keys": [{"kty": ..., "kid": ...}]}}',
                "put each record system's issuer and public JWKS there",
            ) from error
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, authorization: str | None) -> str:
        """Return the issuer of a ``Bearer`` token.

        Raises
        ------
        Unknown
            If there is none, its issuer or key is not listed, its signature, audience or times do
            not hold, or it was used before.
        """
        jwt = self._jwt
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unknown("no token", "Authorization: Bearer with a signed JWT")
        try:
            header = jwt.get_unverified_header(token)
            issuer = str(jwt.decode(token, options={"verify_signature": False}).get("iss"))
            key = self._keys.get(issuer, {}).get(header.get("kid"))
            if key is None:
                raise Unknown("an issuer or key that is not listed", "a listed client")
            claims = jwt.decode(
                token,
                key.key,
                algorithms=_ALGORITHMS,
                audience=self._audience,
                issuer=issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "jti"]},
            )
        except jwt.PyJWTError as error:
            why = f"a token that does not hold ({type(error).__name__})"
            raise Unknown(why, "one that does") from error
        if claims["exp"] - claims["iat"] > _LIFE:
            raise Unknown("a token that lives too long", f"at most {_LIFE} seconds")
        self._once(issuer, str(claims["jti"]), float(claims["exp"]))
        return issuer

    def _once(self, issuer: str, name: str, expires: float) -> None:
        """Refuse a token that was used before; forget those that have expired."""
        now = time.time()
        with self._lock:
            for key in [k for k, until in self._seen.items() if until + _LEEWAY < now]:
                del self._seen[key]
            if (issuer, name) in self._seen or len(self._seen) >= _REMEMBERED:
                raise Unknown("a token that was used before", "a new token for each call")
            self._seen[issuer, name] = expires
