"""What the pages are made from: the model, the prepared pages, the record and who may read."""

from __future__ import annotations

import getpass
import secrets
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError
from magml.review.accounts import Account, check_name, find_account, list_accounts, set_account
from magml.review.index import Index
from magml.review.prepared import Prepared
from magml.review.record import Record
from magml.review.web.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from magml.bundle import Model
    from magml.report import Report, Run


@dataclass(frozen=True, eq=False)
class Desk:
    """An open review.

    Attributes
    ----------
    run
        The model and, where they are beside it, the results of its training.
    prepared
        The pages.
    record
        The signed reviews.
    settings
        How the pages are served.
    """

    run: Run
    prepared: Prepared
    record: Record
    settings: Settings
    #: Opens the pages without a password on this machine, where nobody has one.
    entry: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def model(self) -> Model:
        """The model under review."""
        return self.run.model

    @cached_property
    def index(self) -> Index:
        """The reviews of the prepared pages."""
        return Index(self.record, self.prepared)

    @cached_property
    def domains(self) -> dict[str, str]:
        """Titles of the domains that are the main reason of some page."""
        from magml.explanations.words import describe_domain

        names = dict.fromkeys(name for name in self.prepared.domain.tolist() if name)
        titles = {name: describe_domain(name, self.model.catalogue) for name in names}
        return dict(sorted(titles.items(), key=lambda item: item[1]))

    @cached_property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, the lowest first."""
        return tuple(band.name for band in self.model.definition.bands)

    @cached_property
    def domain_codes(self) -> NDArray[np.int16]:
        """Place of each page's main domain among `domains`, -1 for none, shape (n,)."""
        place = {name: code for code, name in enumerate(self.domains)}
        return np.array([place.get(name, -1) for name in self.prepared.domain], dtype=np.int16)

    @cached_property
    def band_codes(self) -> NDArray[np.int16]:
        """Place of each page's band among `bands`, shape (n,)."""
        place = {name: code for code, name in enumerate(self.bands)}
        return np.array([place.get(name, -1) for name in self.prepared.band], dtype=np.int16)

    @property
    def report(self) -> Report:
        """The run's report, built once."""
        with self._lock:
            return self._report

    @cached_property
    def _report(self) -> Report:
        from magml.report import build_report

        return build_report(self.run)

    @property
    def local(self) -> bool:
        """Whether the one user is who started the pages: no passwords, no proxy, loopback."""
        return self.settings.user_header is None and not has_users(self.record)

    def local_account(self) -> Account:
        """Return the account of who started the pages; made as a lead if it is new."""
        name = _login_name()
        found = find_account(self.record.engine, name)
        if found is None:
            return set_account(self.record.engine, name, "lead", None)
        if not found.active:
            raise InputError(f"the account {name} is disabled", "an account", "set it again")
        return found

    def address(self) -> str:
        """Return where a reader on this machine opens the pages."""
        from ipaddress import ip_address

        host = self.settings.host
        try:
            found = ip_address(host)
            if found.is_unspecified:
                host = "127.0.0.1" if found.version == 4 else "::1"
        except ValueError:
            pass
        scheme = "https" if self.settings.tls_certificate is not None else "http"
        site = f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.settings.port}/"
        return f"{site}enter/{self.entry}" if self.local else site

    def app(self) -> FastAPI:
        """Return the pages as an ASGI application."""
        from magml.review.web.app import create_app

        self._warm()
        return create_app(self)

    def _warm(self) -> None:
        """Sort and count now what the first reader would have to wait for."""
        from magml.review.web.listing import ready

        ready(self)

    def serve(self) -> None:
        """Serve the pages until told to stop.

        Raises
        ------
        InputError
            If the settings would leave them open, or the port is taken.
        """
        from magml.review.web.run import serve

        serve(self)

    def close(self) -> None:
        """Give the record back."""
        self.record.close()


def has_users(record: Record) -> bool:
    """Return whether anybody can log in with a password."""
    return any(one.active and one.has_password for one in list_accounts(record.engine))


def _login_name() -> str:
    """Return the name of who runs this process, in the letters of an account."""
    try:
        name = getpass.getuser()
        check_name(name)
    except (InputError, OSError, KeyError, ImportError):
        return "local"
    return name
