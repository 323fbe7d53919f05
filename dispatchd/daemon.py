"""The composition: the only file that knows every part. Start-up reads downwards; what is opened is
on one stack, and shutdown is its mirror.
"""

import gc
import logging
import signal
import threading
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack
from importlib.metadata import version

from dispatchd.domain.event import Event, Kind
from dispatchd.faces.boot import BootFace
from dispatchd.faces.control import ControlFace
from dispatchd.faces.crowd import within_descriptors
from dispatchd.faces.fallbacks import Fallbacks, Waits
from dispatchd.faces.inherited import inherit
from dispatchd.faces.loop import Loop
from dispatchd.faces.sockets import listen_tcp, listen_unix
from dispatchd.services import journal
from dispatchd.services.backup import Backups
from dispatchd.services.cache import Cache
from dispatchd.services.catalog import Catalog
from dispatchd.services.checkpoints import Checkpoints
from dispatchd.services.clock import SystemClock
from dispatchd.services.discovery import Discovery
from dispatchd.services.dispatcher.ages import Ages
from dispatchd.services.dispatcher.asks import PROMISED, Asks
from dispatchd.services.dispatcher.beacons import Beacons
from dispatchd.services.dispatcher.deadlines import Overseer
from dispatchd.services.dispatcher.idle import Idle
from dispatchd.services.dispatcher.observations import Observations
from dispatchd.services.dispatcher.operator import Operator
from dispatchd.services.dispatcher.overview import Overview
from dispatchd.services.dispatcher.phases import Phases
from dispatchd.services.dispatcher.unit import Context
from dispatchd.services.fetcher import Fetcher
from dispatchd.services.forgetting import Forgetting
from dispatchd.services.github import GitHub, Token
from dispatchd.services.greeting import greet
from dispatchd.services.hooks import Hooks
from dispatchd.services.knocks import KnockBook
from dispatchd.services.login import Login
from dispatchd.services.neighbours import Neighbours
from dispatchd.services.network import Endpoint, boot_urls
from dispatchd.services.outbox import Outbox
from dispatchd.services.pulse import Watchdog
from dispatchd.services.reload import Reload
from dispatchd.services.restarts import tell_start, tell_stop
from dispatchd.services.room import Room
from dispatchd.services.rules import Rules
from dispatchd.services.status_line import StatusLine
from dispatchd.services.storeroom import Storeroom
from dispatchd.services.systemd import Systemd
from dispatchd.services.threads import Threads
from dispatchd.services.token import TokenStore
from dispatchd.settings import Settings
from dispatchd.store.lock import locked
from dispatchd.store.store import Store

log = logging.getLogger(__name__)

VERSION = version("dispatchd")
#: Worker threads and connections of each face. A claim takes milliseconds; bytes need no worker.
BOOT_THREADS, BOOT_CONNECTIONS = 8, 4000
CONTROL_THREADS, CONTROL_CONNECTIONS = 4, 100
#: Seconds that requests in flight may take when dispatchd stops.
GRACE = 5.0
#: Seconds that some parts may be busy without a sign of life: GitHub may keep them waiting, and
#: loading a directory copies its files.
PATIENCE = {"catalog": 900.0, "outbox": 900.0, "control workers": 900.0}


class Daemon:
    """Every part, opened in order on one stack. Use it as a context, then ``serve``.

    ``read`` reads the settings once more.
    """

    def __init__(
        self,
        settings: Settings,
        environ: MutableMapping[str, str],
        *,
        read: Callable[[], Settings],
    ) -> None:
        self._read = read
        self._rules = Rules.of(settings)
        self._environ = environ
        self._stack = ExitStack()
        self._clock = SystemClock()
        self._draining = threading.Event()
        #: Set whenever something happened that may have moved a deadline.
        self._news = threading.Event()
        self._crashed = False
        self._why = ""
        self._systemd = Systemd(environ)
        self._threads = Threads(patience=PATIENCE, on_death=self._die)
        self._turns = self._threads.pulse("loop")
        self._loop = Loop(on_turn=self._turned)

    def __enter__(self) -> "Daemon":
        with self._stack:
            self._open()
            self._compose()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def serve(self) -> int:
        """Serve both faces until SIGTERM or SIGINT; returns the exit status."""
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, lambda number, _: self._stop(signal.Signals(number).name))
        signal.signal(signal.SIGHUP, lambda *_: self._reload.start())
        self._loop.serve(
            self._boot.application(),
            self._listeners,
            name="boot",
            threads=BOOT_THREADS,
            connections=within_descriptors(BOOT_CONNECTIONS),
            on_misfit=self._boot.misfit,
            on_answer=self._threads.pulse("boot workers").beat,
        )
        self._loop.serve(
            self._control.application(),
            self._control_listeners,
            name="control",
            threads=CONTROL_THREADS,
            connections=CONTROL_CONNECTIONS,
            on_answer=self._threads.pulse("control workers").beat,
        )
        for name, service in self._services().items():
            self._threads.start(name, service)
        tell_start(self._store, self._clock, version=VERSION)
        greet(
            self._settings,
            self._store,
            urls=self._urls(),
            socket=self._control_listeners[0].getsockname(),
            token=self._tokens.current(),
        )
        # What is here now stays: to look through it for garbage keeps every request waiting.
        gc.freeze()
        self._systemd.ready()
        self._loop.run(drain=self._settings.deadlines.drain, grace=GRACE)
        self._threads.stop()
        self._wake()
        self._threads.join(GRACE)
        tell_stop(self._store, self._clock, why=self._why)
        return 1 if self._crashed else 0

    def _services(self) -> dict[str, Callable[[threading.Event], None]]:
        """What runs in a thread of its own until it is stopped, by name."""
        services: dict[str, Callable[[threading.Event], None]] = {
            "deadlines": self._overseer.run,
            "observations": self._observations.run,
            "knocks": self._knocks.run,
            "forgetting": self._forgetting.run,
            "checkpoints": Checkpoints(self._store).run,
            "fetcher": self._fetcher.run,
            "storeroom": self._storeroom.run,
            "catalog": self._catalog.run,
            "outbox": self._outbox.run,
            "hooks": self._hooks.run,
            "status": StatusLine(self._systemd, counts=self._overview.counts).run,
            "watchdog": Watchdog(self._systemd, self._threads.pulses, ask=self._loop.ask).run,
        }
        if self._settings.discovery.enabled:
            services["discovery"] = self._discovery().run
        return services

    def _open(self) -> None:
        """What other processes could hold or deny: the directories, the sockets, the database."""
        settings = self._settings
        self._stack.callback(self._systemd.close)
        self._hooks = Hooks(
            self._environ,
            command=lambda: self._settings.hooks.command,
            timeout=lambda: self._settings.hooks.timeout,
        )
        self._stack.enter_context(locked(settings.state_dir))
        self._store = Store(
            settings.database,
            listeners=[journal.tell, self._hooks.tell, self._told],
            on_progress=self._systemd.wait_longer,
        )
        self._stack.callback(self._store.close)
        inherited = inherit(self._environ)
        enter = self._stack.enter_context
        self._listeners = [enter(listener) for listener in inherited.boot]
        self._control_listeners = [enter(listener) for listener in inherited.control]
        if self._listeners:
            log.info("the boot sockets are systemd's: [boot] listen is not used")
        else:
            addresses = settings.boot.addresses()
            self._listeners = [enter(listen_tcp(host, port)) for host, port in addresses]
        if not self._control_listeners:
            self._control_listeners = [enter(listen_unix(settings.socket))]
            self._stack.callback(settings.socket.unlink, missing_ok=True)

    def _compose(self) -> None:
        """What calls comes after what is called."""
        cache = Cache(self._settings.cache_dir)
        self._compose_delivery()
        self._compose_bytes(cache)
        context = self._compose_queue(cache)
        self._compose_faces(cache, context)

    def _compose_delivery(self) -> None:
        """From reports to issues."""
        self._tokens = TokenStore(self._settings.state_dir, self._environ)
        self._github = self._client(self._tokens.current)
        self._outbox = Outbox(
            self._store,
            self._github,
            self._tokens,
            self._clock,
            spacing=lambda: self._settings.github.issue_spacing,
            footer=lambda: self._settings.reports.footer,
        )

    def _compose_bytes(self, cache: Cache) -> None:
        """From releases to workloads and their bytes."""
        store, clock, limits = self._store, self._clock, self._settings.cache
        self._room = Room(store, cache, clock, max_size=limits.max_size, min_free=limits.min_free)
        self._catalog = Catalog(
            store,
            self._github,
            clock,
            max_tries=lambda: self._settings.queue.attempts,
            wake=self._wake,
            wait=self._draining.wait,
        )
        self._fetcher = Fetcher(
            store,
            cache,
            self._room,
            self._github,
            clock,
            at_once=limits.downloads,
            refresh=self._catalog.refresh,
        )
        self._storeroom = Storeroom(store, cache, self._room, clock, on_change=self._wake)

    def _compose_queue(self, cache: Cache) -> Context:
        """From workloads to machines and their reports."""
        store, clock = self._store, self._clock
        context = Context(
            store=store,
            clock=clock,
            policies=lambda: self._rules.policy,
            phases=Phases(clock),
            ages=Ages(clock),
            has_bytes=lambda sha256: cache.path(sha256) is not None,
            wake=self._wake,
        )
        self._overseer = Overseer(context, news=self._news)
        self._overview = Overview(context, version=VERSION, urls=self._urls, arrivals=self._fetcher)
        self._observations = Observations(context)
        self._knocks = KnockBook(store)
        self._forgetting = Forgetting(store, clock, keep=lambda: self._settings.history.keep)
        return context

    def _compose_faces(self, cache: Cache, context: Context) -> None:
        """What machines and people speak to."""
        store, clock = self._store, self._clock
        self._endpoints = [Endpoint.of(listener) for listener in self._listeners]
        idle = Idle(
            context,
            programs=lambda: self._rules.programs,
            here=self._here,
            draining=self._draining.is_set,
        )
        self._boot = BootFace(
            path=self._settings.boot.path,
            allow=lambda: self._rules.allow,
            clock=clock,
            asks=Asks(context, idle=idle, observations=self._observations),
            beacons=Beacons(context),
            idle=idle,
            overview=self._overview,
            observations=self._observations,
            phases=context.phases,
            knocks=self._knocks,
            cache=cache,
            neighbours=Neighbours(),
            fallbacks=Fallbacks(clock, window=PROMISED),
            waits=Waits(clock),
        )
        self._reload = Reload(
            store,
            clock,
            self._systemd,
            read=self._read,
            current=lambda: self._settings,
            apply=self._reapply,
        )
        self._control = ControlFace(
            overview=self._overview,
            operator=Operator(context),
            catalog=self._catalog,
            storeroom=self._storeroom,
            login=Login(
                store,
                clock,
                self._tokens,
                self._outbox,
                client=lambda token: self._client(lambda: token),
            ),
            backups=Backups(store, clock, self._settings.state_dir),
        )

    @property
    def _settings(self) -> Settings:
        """Those of the moment: parts ask for what can change at each use."""
        return self._rules.settings

    def _reapply(self, settings: Settings) -> None:
        self._rules = Rules.of(settings)
        self._room.resize(max_size=settings.cache.max_size, min_free=settings.cache.min_free)
        self._wake()

    def _client(self, token: Callable[[], Token | None]) -> GitHub:
        return GitHub(
            api_url=self._settings.github.api_url,
            token=token,
            proxy=self._settings.github.proxy,
            ca_bundle=self._settings.github.ca_bundle,
            version=VERSION,
            now=self._clock.now,
        )

    def _discovery(self) -> Discovery:
        return Discovery(
            port=self._endpoints[0].port,
            path=self._settings.boot.path,
            version=VERSION,
            listens_on=lambda address: any(one.covers(address) for one in self._endpoints),
        )

    def _urls(self) -> tuple[str, ...]:
        return boot_urls(self._endpoints, self._settings.boot.path)

    def _here(self) -> str:
        """What machines show as our name: the address that people type into their set-up."""
        urls = self._urls()
        return urls[0].split("/")[2].rpartition(":")[0] if urls else ""

    def _told(self, event: Event) -> None:
        """Something has happened: deadlines may have moved, and what we report wants to leave."""
        self._news.set()
        if event.kind is Kind.FAILURE_REPORTED:
            self._outbox.wake()

    def _wake(self) -> None:
        self._fetcher.wake()
        self._storeroom.wake()
        self._outbox.wake()
        self._news.set()

    def _stop(self, why: str) -> None:
        """From a signal: askers wait from now on, and transfers in flight may end."""
        self._why = self._why or why
        self._draining.set()
        self._systemd.stopping()
        self._loop.stop()

    def _turned(self) -> None:
        self._turns.beat()
        if self._draining.is_set():
            self._systemd.wait_longer()

    def _die(self, thread: str) -> None:
        self._crashed = True
        self._stop(f"the {thread} thread died")
