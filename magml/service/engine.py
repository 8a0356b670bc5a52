"""The model that a service holds: loaded once, exchanged when a newer one stands."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from magml.bundle.manifest import MANIFEST
from magml.bundle.shipped import bundle_folder
from magml.errors import MagmlError
from magml.memory import settle

if TYPE_CHECKING:
    from magml.bundle import Model
    from magml.service.settings import Settings

T = TypeVar("T")
#: Weight of the last turn in how long turns take, and most seconds until asking again.
_NEW, _LONGEST_WAIT = 0.1, 30
_log = logging.getLogger("magml.service")


class Busy(MagmlError):
    """More requests wait than the service keeps."""


class Late(MagmlError):
    """A request took longer than the service allows."""


@dataclass(frozen=True)
class Loaded:
    """A model and the version by which it was found."""

    model: Model
    version: str


class Engine:
    """Scores in threads, with a bounded queue, and exchanges its model between requests."""

    def __init__(self, reference: str, settings: Settings) -> None:
        self._reference, self._settings = reference, settings
        self._loaded = self._load(self._version())
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="magml-score")
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self.pending = 0
        #: How long a turn took lately.
        self._seconds = 0.0

    @property
    def loaded(self) -> Loaded:
        """The model in service now."""
        return self._loaded

    def start(self) -> None:
        """Begin to look for newer models."""
        settle()
        if self._settings.poll > 0:
            self._watcher = threading.Thread(target=self._watch, name="magml-watch", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """Finish what runs and stop."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._watcher is not None:
            self._watcher.join(timeout=5)

    def wait(self, ahead: int) -> float:
        """Return the seconds that a request will wait for its turn with so many inside already."""
        queued = max(0, ahead + 1 - self._settings.workers)
        return queued * self._seconds / self._settings.workers

    def retry_after(self) -> int:
        """Return the seconds after which who is refused now may ask again."""
        return min(_LONGEST_WAIT, max(1, math.ceil(self.wait(self.pending))))

    async def run(self, work: Callable[[Loaded], T]) -> T:
        """Return what `work` makes of the model in service when its turn comes.

        Raises
        ------
        Busy
            If as many requests wait or run as the settings allow, or this one waited longer for
            its turn than they allow.
        Late
            If it takes longer than the settings allow.
        """
        with self._lock:
            if self.pending >= self._settings.waiting:
                raise Busy(
                    f"{self.pending} requests wait already", "fewer at once", "try again shortly"
                )
            self.pending += 1
        began: Future[None] = Future()

        def turn() -> T:
            began.set_result(None)
            started = time.perf_counter()
            try:
                return work(self._loaded)
            finally:
                self._learn(time.perf_counter() - started)

        future = self._pool.submit(turn)
        # A request that its caller gave up on still holds its place until the thread is free.
        future.add_done_callback(lambda _: self._done())
        patience = min(self._settings.patience, self._settings.timeout)
        done, _ = await asyncio.wait([asyncio.wrap_future(began)], timeout=patience)
        # What cannot be cancelled has just begun.
        if not done and future.cancel():
            raise Busy(f"no turn within {patience:g} seconds", "fewer at once", "try again shortly")
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._settings.timeout)
        except TimeoutError as error:
            raise Late(
                f"no answer within {self._settings.timeout:g} seconds",
                "a smaller request, or a longer --timeout",
                "send fewer prediction times at once",
            ) from error

    def refresh(self) -> bool:
        """Exchange the model if another version stands; return whether it was exchanged.

        A version that does not load is logged and the model in service stays.
        """
        try:
            version = self._version()
            if version == self._loaded.version:
                return False
            self._loaded = self._load(version)
        except MagmlError as error:
            _log.warning("a newer model was not taken into service", extra={"reason": str(error)})
            return False
        settle()
        _log.info("model exchanged", extra={"bundle": self._loaded.model.hash[:12]})
        return True

    def _learn(self, seconds: float) -> None:
        with self._lock:
            self._seconds += (seconds - self._seconds) * (_NEW if self._seconds else 1)

    def _done(self) -> None:
        with self._lock:
            self.pending -= 1

    def _watch(self) -> None:
        while not self._stop.wait(self._settings.poll):
            self.refresh()

    def _load(self, version: str) -> Loaded:
        from magml.bundle import load

        model = load(self._reference, tracking_uri=self._settings.tracking_uri)
        return Loaded(model, version)

    def _version(self) -> str:
        """Return what tells one model of the reference from the next, without loading it."""
        if self._reference.startswith("models:/"):
            from magml.experiments.registry import registered_version

            return registered_version(self._reference, self._settings.tracking_uri)
        try:
            manifest: Any = json.loads(
                (bundle_folder(self._reference) / MANIFEST).read_text("utf-8")
            )
            return str(manifest["hash"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""  # loading says what is wrong with it
