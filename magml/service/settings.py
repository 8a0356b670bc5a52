"""What a service is told when it starts, and when it refuses to."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from magml.errors import InputError

#: One core does about ten requests of one patient a second: a longer queue is only slower.
_WAITING = 24


@dataclass(frozen=True)
class Settings:
    """How a service listens and what it accepts.

    Attributes
    ----------
    host, port
        Where it listens; beyond loopback only with `keys` or `client_ca`, and with TLS.
    keys
        File of API keys (`magml.service.keys`).
    tls_certificate, tls_key
        PEM files of the server; both or neither.
    client_ca
        PEM file of the authority of client certificates: mutual TLS.
    behind_proxy
        TLS ends at a reverse proxy on this host: plain HTTP beyond loopback is then accepted, keys
        are demanded all the same.
    max_bytes, max_rows, max_events
        Largest body, most prediction times and most events of one request.
    timeout
        Seconds after which a request is answered with 503.
    waiting
        Requests that may be queued or running; more are answered with 503 at once.
    patience
        Seconds that a request may wait for its turn; then it is answered with 503, and not worked
        on: whoever asked has given up, or asks again.
    workers
        Threads that score; default the cores.
    zone
        IANA zone of the events' naive times; times with an offset are converted to it.
    poll
        Seconds between looks whether the registry's alias, or the folder, holds a new model; 0
        never looks.
    tracking_uri
        MLflow store of a ``models:/`` reference.
    cds_clients
        JSON file of the record systems that may call CDS Hooks: issuer to a set of public keys
        (JWKS). Their calls then carry a signed token in place of an API key.
    cds_audience
        Address under which they call, as their tokens name it.
    origins
        Web origins that browsers may call from (CORS); default none.
    alert_band
        The lowest band that raises a card; default the highest one.
    review_url
        Page a card links to; ``{patient}`` stands for the patient's id.
    silent
        Score and count, but raise no card: the silent period of a new model.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    behind_proxy: bool = False
    max_bytes: int = 5_000_000
    max_rows: int = 1_000
    max_events: int = 50_000
    timeout: float = 30.0
    waiting: int = _WAITING
    patience: float = 2.0
    workers: int = os.cpu_count() or 1
    zone: str = "UTC"
    poll: float = 10.0
    tracking_uri: str | None = None
    cds_clients: Path | None = None
    cds_audience: str | None = None
    origins: tuple[str, ...] = ()
    alert_band: str | None = None
    review_url: str | None = None
    silent: bool = False

    def check(self) -> None:
        """Refuse settings that would leave the service open.

        Raises
        ------
        InputError
            Naming what is missing.

        Examples
        --------
        >>> Settings().check()
        >>> Settings(host="0.0.0.0").check()
        Traceback (most recent call last):
        ...
        magml.errors.InputError: listening on 0.0.0.0, beyond this machine...
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InputError(
                "a certificate without its key, or a key without its certificate",
                "both --tls-certificate and --tls-key",
                "add the other",
            )
        if self.client_ca is not None and self.tls_certificate is None:
            raise InputError(
                "client certificates without TLS",
                "--tls-certificate and --tls-key with --client-ca",
                "add them",
            )
        for path in (
            self.keys, self.tls_certificate, self.tls_key, self.client_ca, self.cds_clients
        ):  # fmt: skip
            if path is not None and not path.is_file():
                raise InputError(f"no file '{path.name}'", "a file that reads", "check the path")
        if (self.cds_clients is None) != (self.cds_audience is None):
            raise InputError(
                "CDS clients without the address they call, or the reverse",
                "--cds-clients with --cds-audience",
                "add the other",
            )
        if self.review_url is not None and not self.review_url.startswith(("https://", "http://")):
            raise InputError("a review page that is no web address", "https://...", "correct it")
        if is_loopback(self.host):
            return
        if self.keys is None and self.client_ca is None:
            raise InputError(
                f"listening on {self.host}, beyond this machine, with nobody asked who they are",
                "--keys FILE, or --client-ca FILE for mutual TLS",
                "make a key with magml serve-key, or listen on 127.0.0.1",
            )
        if self.tls_certificate is None and not self.behind_proxy:
            raise InputError(
                f"listening on {self.host}, beyond this machine, without TLS",
                "--tls-certificate and --tls-key, or --behind-proxy where a proxy ends TLS",
                "add them, or listen on 127.0.0.1",
            )


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine only.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost")
    (True, True, True)
    >>> is_loopback("0.0.0.0"), is_loopback("hospital.example")
    (False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
