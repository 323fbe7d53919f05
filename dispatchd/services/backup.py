"""Copies of the database for people to keep elsewhere. No token is in them."""

import threading
from pathlib import Path
from typing import BinaryIO

from dispatchd.domain.event import Kind
from dispatchd.errors import StoreError
from dispatchd.services.clock import Clock
from dispatchd.store.store import Store


class Backups:
    """Makes copies while everything goes on, one at a time."""

    def __init__(self, store: Store, clock: Clock, directory: Path) -> None:
        self._store = store
        self._clock = clock
        self._path = directory / ".backup"
        self._lock = threading.Lock()

    def make(self, *, by: str) -> BinaryIO:
        """The copy, as a file without a name: it is gone when it is closed."""
        with self._lock:
            self._store.copy(self._path)
            try:
                copy = self._path.open("rb")
                self._path.unlink()
            except OSError as error:
                raise StoreError(f"cannot read {self._path}: {error.strerror}") from error
        with self._store.writing() as tx:
            tx.tell(Kind.BACKED_UP, "backed up", at=self._clock.now(), by=by)
        return copy
