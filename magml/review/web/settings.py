"""How the pages are served, and when they refuse to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from magml.errors import InputError
from magml.review.key import make_key, read_key
from magml.service.settings import is_loopback


@dataclass(frozen=True)
class Settings:
    """How the pages are served.

    Attributes
    ----------
    host, port
        Where they listen. Beyond loopback only with users and either TLS or a proxy.
    tls_certificate, tls_key
        PEM files of the server; both or neither.
    proxies
        Addresses of reverse proxies. Only they may connect then; TLS ends at them, and the last
        entry of their ``X-Forwarded-For`` is the reader's address.
    user_header
        Header in which the proxy names who is logged in; passwords are then not asked for.
    proxy_secret
        File with the secret that the proxy sends as ``X-Magml-Proxy-Secret``, so that nobody
        else who reaches the port can claim to be somebody. Made if it is missing.
    names
        Host names under which the pages are reached, besides the address they listen on.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    proxies: tuple[str, ...] = ()
    user_header: str | None = None
    proxy_secret: Path | None = None
    names: tuple[str, ...] = ()

    @property
    def secure(self) -> bool:
        """Whether readers come by HTTPS, so that cookies are for HTTPS alone."""
        return self.tls_certificate is not None or bool(self.proxies)

    def secret(self) -> str | None:
        """Return what the proxy must send, None where no proxy says who somebody is."""
        if self.user_header is None or self.proxy_secret is None:
            return None
        path = self.proxy_secret
        return (read_key(path) if path.exists() else make_key(path)).hex()

    def check(self, *, users: bool) -> None:
        """Refuse settings that would let somebody unknown read or sign.

        Parameters
        ----------
        users
            Whether anybody has a password.

        Raises
        ------
        InputError
            Naming what is missing.

        Examples
        --------
        >>> Settings().check(users=False)
        >>> Settings(host="0.0.0.0").check(users=True)
        Traceback (most recent call last):
        ...
        magml.errors.InputError: listening on 0.0.0.0, beyond this machine, without TLS...
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InputError(
                "a certificate without its key, or a key without its certificate",
                "both --tls-certificate and --tls-key",
                "add the other",
            )
        for path in (self.tls_certificate, self.tls_key):
            if path is not None and not path.is_file():
                raise InputError(f"no file '{path.name}'", "a file that reads", "check the path")
        if self.user_header is not None and (not self.proxies or self.proxy_secret is None):
            raise InputError(
                "a header that names the user, and nothing that shows a proxy sent it",
                "--proxy ADDRESS and --proxy-secret FILE with --user-header",
                "add them",
            )
        known = users or self.user_header is not None
        if self.proxies and not known:
            raise InputError(
                "a proxy in front of pages that ask nobody who they are",
                "users with passwords, or --user-header",
                "add users with magml review-user",
            )
        if is_loopback(self.host):
            return
        if not known:
            raise InputError(
                f"listening on {self.host}, beyond this machine, with nobody asked who they are",
                "users with passwords, or a proxy that says who they are",
                "add users with magml review-user, or listen on 127.0.0.1",
            )
        if not self.secure:
            raise InputError(
                f"listening on {self.host}, beyond this machine, without TLS",
                "--tls-certificate and --tls-key, or --proxy where a proxy ends TLS",
                "add them, or listen on 127.0.0.1",
            )
