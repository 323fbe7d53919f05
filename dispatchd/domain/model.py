"""The things the queue is about, as frozen values. No I/O, no clock, no rules (see lifecycle)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    """Where a workload is. The words are fixed: people and programs read them."""

    UNASSIGNED = "unassigned"
    ASSIGNED = "assigned"
    DOWNLOADING = "downloading"
    BOOTING = "booting"
    REPORTED = "reported"
    FINISHED = "finished"
    FAILED = "failed"


#: States in which a machine holds the workload and has not reported yet.
RUNNING = frozenset({State.ASSIGNED, State.DOWNLOADING, State.BOOTING})
#: States in which nothing is left to do for a machine.
SETTLED = frozenset({State.REPORTED, State.FINISHED, State.FAILED})


class Outcome(StrEnum):
    """How an attempt ended, in the words that people read."""

    REPORTED = "reported"
    REBOOTED = "rebooted without a report"
    DID_NOT_BOOT = "did not boot"
    DOWNLOAD_FAILING = "download keeps failing"
    STALLED = "download stalled"
    NO_BOOT = "no boot"
    NO_REPORT = "no report"
    LAPSED = "lapsed"
    LOST = "its bytes were lost here"
    CANCELLED = "cancelled"

    @property
    def is_try(self) -> bool:
        """Whether it counts as a try that ended without a report."""
        return self not in (Outcome.REPORTED, *NO_TRY)


#: Ends that say nothing about the workload, nor about the machine.
NO_TRY = (Outcome.LAPSED, Outcome.LOST, Outcome.CANCELLED)


class Delivery(StrEnum):
    """Where a report is on its way to GitHub."""

    PENDING = "pending"
    FILED = "filed"
    KEPT = "kept"
    HELD = "held"
    REFUSED = "refused"


#: Deliveries with nothing left to do.
DELIVERED = frozenset({Delivery.FILED, Delivery.KEPT, Delivery.REFUSED})


class Source(StrEnum):
    """Where a release comes from."""

    GITHUB = "github"
    DIRECTORY = "directory"


class Arrival(StrEnum):
    """Whether the bytes of an asset can be served."""

    ARRIVING = "arriving"
    WHOLE = "whole"
    GONE = "gone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A GitHub release or a directory in the queue. ``name`` is O/R@T, or the directory.

    ``asked`` is the request that loaded it, as JSON; ``drift`` how GitHub's differs from it now.
    """

    id: int
    source: Source
    name: str
    owner: str
    repo: str
    tag: str
    directory: str
    report_to: str
    filing: bool
    filters: tuple[str, ...]
    all_efi: bool
    loaded_at: datetime
    unloaded_at: datetime | None
    unfinished: bool
    drift: str
    report_failures: bool = False
    asked: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """One bootable file. ``sha256`` is empty until it is known; ``arrived`` counts bytes."""

    id: int
    release_id: int
    name: str
    size: int
    sha256: str
    media_type: str
    content_type: str
    remote_id: int
    url: str
    download_url: str
    updated_at: str
    arrival: Arrival
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """An asset queued to run. ``run`` counts how often people asked for it: retry and cancel begin
    the next, and what belongs to an earlier one no longer moves it. ``pool`` is empty for any."""

    id: int
    release_id: int
    asset_id: int
    name: str
    pool: str
    pinned_to: int | None
    priority: int
    max_tries: int
    report_timeout: float | None
    state: State
    reason: str
    run: int
    tries: int
    changed_at: datetime

    @property
    def label(self) -> str:
        """NAME, or NAME@POOL."""
        return f"{self.name}@{self.pool}" if self.pool else self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try of one workload on one machine. Open until ``ended_at``; times are UTC."""

    id: int
    workload_id: int
    machine_id: int
    number: int
    run: int
    assigned_at: datetime
    first_byte_at: datetime | None = None
    whole_at: datetime | None = None
    booted_at: datetime | None = None
    reported_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    asks: int = 1
    asks_since_whole: int = 0
    sent: int = 0

    @property
    def state(self) -> State:
        """The workload's state while this attempt is open."""
        if self.reported_at is not None:
            return State.REPORTED
        if self.booted_at is not None:
            return State.BOOTING
        return State.ASSIGNED if self.first_byte_at is None else State.DOWNLOADING


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A bare-metal server or VM that boots from us. ``held`` says why we keep work from it.

    ``sent_attempt_id`` is the attempt whose bytes it was sent last, None once it was sent others.
    ``trusted_after`` is the last attempt that no longer speaks against it: a person let it go on.
    """

    id: int
    name: str
    pool: str
    note: str
    paused: bool
    held: str
    trusted_after: int
    simulated: bool
    seen_at: datetime | None
    waiting_since: datetime | None
    handed: str
    sent_attempt_id: int | None
    address: str
    mac: str

    @property
    def label(self) -> str:
        """What people call it: its name, else the address it was last seen at, else its MAC."""
        return self.name or self.address or self.mac or f"machine {self.id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """What an ask was answered: a GET that follows a HEAD within the window gets exactly this.

    Either an attempt's asset, or a firmware program's bytes, or (status 404) nothing.
    """

    machine_id: int
    made_at: datetime
    by_head: bool
    status: int
    attempt_id: int | None = None
    program: str = ""
    body: bytes = b""
    sha256: str = ""
    size: int = 0
    media_type: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One result of one attempt, as the beacon sent it.

    A ``failure`` is ours: it says that its workload failed, and is no result of it.
    """

    id: str
    attempt_id: int
    content_hash: str
    title: str
    body: str
    labels: tuple[str, ...]
    assignees: tuple[str, ...]
    milestone: str
    received_at: datetime
    late: bool
    failure: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxEntry:
    """A report's delivery.

    ``posting_at`` is the first POST whose outcome is not known: from then on, look before posting;
    ``looks`` were in vain since the latest one. ``issue`` is the number once there is one, and
    ``comments`` of its series are there. GitHub did not take the fields ``dropped`` (lines like
    "labels: why"), nor a body longer than ``room`` characters (0: not known). ``limited``: nothing
    at all may be asked of GitHub before ``next_at``. ``failing_since`` is set while it goes wrong.
    """

    report_id: str
    state: Delivery
    report_to: str
    next_at: datetime
    tries: int = 0
    posting_at: datetime | None = None
    looks: int = 0
    issue: int = 0
    comments: int = 0
    room: int = 0
    dropped: tuple[str, ...] = ()
    limited: bool = False
    failing_since: datetime | None = None
    url: str = ""
    error: str = ""
    warning: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unclaimed:
    """A PUT that could not be credited, kept for a person to look at."""

    id: str
    received_at: datetime
    address: str
    mac: str
    answer: int
    reason: str
    title: str
    body: bytes
