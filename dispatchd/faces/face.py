"""What the listeners of one face share: its workers, and its bound on connections."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from waitress.task import ThreadedTaskDispatcher

from dispatchd.faces import crowd
from dispatchd.faces.channel import Channel
from dispatchd.faces.sender import Sender

if TYPE_CHECKING:
    from dispatchd.faces.loop import Server

log = logging.getLogger(__name__)

#: Seconds until it is said again that a face is full.
SILENCE = 60.0
#: Connections that make room at a time.
ROOM = 64


class Question:
    """A task that shows that workers work: it goes from one group of them to the next. One waits
    in their queues at a time.
    """

    def __init__(
        self, groups: Sequence[ThreadedTaskDispatcher], on_answer: Callable[[], None]
    ) -> None:
        self._groups = groups
        self._on_answer = on_answer
        self._answered = 0
        self._is_open = False

    def ask(self) -> None:
        """Ask, unless the last question still waits for its answer."""
        if not self._is_open:
            self._is_open, self._answered = True, 0
            self._groups[0].add_task(self)

    def service(self) -> None:
        self._answered += 1
        if self._answered < len(self._groups):
            self._groups[self._answered].add_task(self)
            return
        self._is_open = False
        self._on_answer()

    def cancel(self) -> None:
        """The workers are no more."""


class Face:
    """The workers and the bound that the listeners of one face share.

    Who asks (HEAD, GET) and who tells (POST, PUT) have as many workers each: what is told waits
    until it is on disk, however slow that is, and firmware gives up after seconds.
    """

    def __init__(
        self,
        *,
        name: str,
        threads: int,
        connections: int,
        on_misfit: Callable[[str, str], None],
        on_answer: Callable[[], None],
        sender: Sender,
    ) -> None:
        self.name = name
        self.sender = sender
        self.connections = connections
        self.on_misfit = on_misfit
        self.servers: list[Server] = []
        self._silent_until = 0.0
        self.askers, self.tellers = ThreadedTaskDispatcher(), ThreadedTaskDispatcher()
        for workers in (self.askers, self.tellers):
            workers.set_thread_count(threads)
        self._question = Question([self.askers, self.tellers], on_answer)

    def channels(self) -> list[Channel]:
        """Every open connection."""
        return [
            channel for server in self.servers for channel in list(server.active_channels.values())
        ]

    def ask(self) -> None:
        """Have the workers show that they work, when its turn comes."""
        self._question.ask()

    def work(self, channel: Channel) -> None:
        """Have the connection's next request answered."""
        workers = self.askers if channel.is_asked() else self.tellers
        workers.add_task(channel)

    def shut_down(self) -> None:
        """Have no workers any more."""
        for workers in (self.askers, self.tellers):
            workers.shutdown()

    def is_full(self) -> bool:
        """Whether there is no room for another connection. Who crowds the others out makes some."""
        if sum(len(server.active_channels) for server in self.servers) < self.connections:
            return False
        leaving = crowd.leaving(self.channels(), wanted=ROOM)
        for channel in leaving:
            channel.will_close = True
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + SILENCE
            what = f"idle ones of {leaving[0].addr[0]} close" if leaving else "no more for now"
            log.warning("%d connections on the %s face: %s", self.connections, self.name, what)
        return True
