"""GitHub for a person who waits: what passes by itself within half a minute is no error."""

import logging
from collections.abc import Callable
from typing import TypeVar

from dispatchd.errors import Unavailable
from dispatchd.services.clock import Clock
from dispatchd.services.github import RemoteRelease, Repository
from dispatchd.services.sources import GitHub

log = logging.getLogger(__name__)

T = TypeVar("T")
#: Seconds before the second try, doubled at each, and those after which none begins.
FIRST_PAUSE, LONGEST = 1.0, 32.0


class PatientGitHub:
    """Reads, asked again while that may help: half a minute for all of one load's together.

    ``wait`` waits so many seconds; true where it was for nothing, because dispatchd stops.
    """

    def __init__(self, github: GitHub, clock: Clock, wait: Callable[[float], bool]) -> None:
        self._github = github
        self._clock = clock
        self._wait = wait
        self._until = clock.monotonic() + LONGEST

    def release_by_tag(self, owner: str, repo: str, tag: str) -> RemoteRelease:
        return self._patiently(lambda: self._github.release_by_tag(owner, repo, tag))

    def latest_release(self, owner: str, repo: str) -> RemoteRelease:
        return self._patiently(lambda: self._github.latest_release(owner, repo))

    def repository(self, owner: str, repo: str) -> Repository:
        return self._patiently(lambda: self._github.repository(owner, repo))

    def login(self) -> str | None:
        return self._patiently(self._github.login)

    def has_token(self) -> bool:
        return self._github.has_token()

    def _patiently(self, read: Callable[[], T]) -> T:
        pause = FIRST_PAUSE
        while True:
            try:
                return read()
            except Unavailable as error:
                asked_for = (error.retry_at or self._clock.now()) - self._clock.now()
                wait = max(pause, asked_for.total_seconds())
                if self._clock.monotonic() + wait > self._until or self._wait(wait):
                    raise
                log.warning("%s; asked again after %.0f s", error, wait)
            pause *= 2
