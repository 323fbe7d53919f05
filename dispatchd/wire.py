"""What the control socket says: one struct per JSON shape, shared by dispatchd and dispatchctl.

A leaf module: it imports nothing of ours, so the client can depend on it without the daemon. Keys
may be added in later versions and unknown ones are ignored; none is renamed or removed. Times are
RFC 3339 in UTC, sizes are bytes, and a state is always one of the words in ``SIGNS``.
"""

from datetime import datetime
from typing import Literal

import msgspec

State = Literal[
    "unassigned", "assigned", "downloading", "booting", "reported", "finished", "failed"
]
#: The seven states in the order of a workload's life, each with its sign.
SIGNS: dict[State, str] = {
    "unassigned": "⏳",
    "assigned": "📌",
    "downloading": "📥",
    "booting": "⚡",
    "reported": "📝",
    "finished": "🏁",
    "failed": "❌",
}
Delivery = Literal["pending", "filed", "kept", "held", "refused"]
Bytes = Literal["arriving", "whole", "gone"]
#: How a machine's next request would be recognised; an address is weak.
KnownBy = Literal["name", "mac", "address"]
ErrorKind = Literal["bad-request", "not-found", "conflict", "refused", "unavailable", "internal"]
#: HTTP status of each kind of error.
STATUS_OF: dict[ErrorKind, int] = {
    "bad-request": 400,
    "not-found": 404,
    "conflict": 409,
    "refused": 422,
    "unavailable": 503,
    "internal": 500,
}


def amount(count: float) -> str:
    """Bytes in binary units, as both sides say it."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        count /= 1024
        if count < 1024 or unit == "TiB":
            break
    return f"{count:.1f} {unit}" if count < 10 else f"{count:.0f} {unit}"


def counted(count: int, noun: str) -> str:
    """So many of something: "1 report", "2 reports"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


class Struct(msgspec.Struct, frozen=True, kw_only=True):
    """Frozen, keyword-only, lenient towards keys of later versions."""


# --- errors ---------------------------------------------------------------------------------------


class Problem(Struct, frozen=True, kw_only=True):
    kind: ErrorKind
    message: str
    hint: str = ""


class ErrorAnswer(Struct, frozen=True, kw_only=True):
    error: Problem


# --- GET /v1/status -------------------------------------------------------------------------------


class StatusReport(Struct, frozen=True, kw_only=True):
    id: str
    title: str
    state: Delivery
    late: bool
    url: str | None
    error: str | None
    warning: str | None


class StatusWorkload(Struct, frozen=True, kw_only=True):
    """One row of the table. ``sent``: bytes of the open attempt handed to the kernel so far.

    ``bytes`` and ``arrived`` tell whether the asset is in the cache, and how much of it; ``rate``
    (bytes a second) and ``eta`` (seconds) how fast the rest comes, ``trouble`` why it does not.
    ``why`` it is where it is; ``then`` is what happens if nothing changes by ``until``.
    ``known_by`` is the machine's.
    """

    id: int
    name: str
    pool: str | None
    release: str
    state: State
    reason: str | None
    machine: str | None
    attempt: int
    attempts: int
    size: int
    sent: int
    seen: datetime | None
    reports: list[StatusReport]
    bytes: Bytes = "whole"
    arrived: int = 0
    rate: float = 0.0
    eta: float | None = None
    trouble: str | None = None
    pinned: str | None = None
    why: str = ""
    until: datetime | None = None
    then: str | None = None
    known_by: KnownBy | None = None


class Knock(Struct, frozen=True, kw_only=True):
    """One request on the boot port. ``machine`` is its label where one is known."""

    at: datetime
    address: str
    mac: str | None
    machine: str | None
    request: str
    agent: str
    answer: str


class Status(Struct, frozen=True, kw_only=True):
    """The answer to ``GET /v1/status``: loaded releases only, in queue order."""

    version: str
    url: str
    urls: list[str]
    paused: bool
    attention: list[str]
    counts: dict[State, int]
    workloads: list[StatusWorkload]
    knock: Knock | None = None
    releases: list[str] = []


# --- releases -------------------------------------------------------------------------------------


class LoadRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/releases``: owner, repo and tag, or a directory (absolute, on dispatchd's side).

    ``plan``: say what would happen and change nothing. ``report_to`` is "OWNER/REPO". ``pools``:
    once per pool. ``on``: a machine, by name, MAC, address or id. ``report_timeout`` is seconds.
    ``report_failures``: a workload that fails without a report is reported by dispatchd itself.
    """

    owner: str | None = None
    repo: str | None = None
    tag: str | None = None
    directory: str | None = None
    filters: list[str] = []
    pools: list[str] = []
    on: str | None = None
    file: bool = True
    report_to: str | None = None
    all_efi: bool = False
    attempts: int | None = None
    report_timeout: float | None = None
    priority: int = 0
    report_failures: bool = False
    plan: bool = False


Change = Literal["queued", "unchanged", "replaced", "withdrawn", "kept"]


class LoadedWorkload(Struct, frozen=True, kw_only=True):
    """``change``: replaced means that it takes the new bytes; kept, that it is gone upstream."""

    id: int | None
    name: str
    pool: str | None
    size: int
    change: Change
    reason: str | None = None


class LoadAnswer(Struct, frozen=True, kw_only=True):
    """What was (or, with ``plan``, would be) done. ``report_to`` is None when reports stay here."""

    release_id: int | None
    release: str
    workloads: list[LoadedWorkload]
    report_to: str | None
    login: str | None
    notes: list[str]
    warnings: list[str]


class Release(Struct, frozen=True, kw_only=True):
    id: int
    name: str
    source: Literal["github", "directory"]
    report_to: str | None
    file: bool
    loaded_at: datetime
    counts: dict[State, int]
    drift: str | None = None


class Releases(Struct, frozen=True, kw_only=True):
    releases: list[Release]


# --- workloads ------------------------------------------------------------------------------------


class Attempt(Struct, frozen=True, kw_only=True):
    id: int
    number: int
    machine: str
    state: State
    assigned_at: datetime
    first_byte_at: datetime | None
    whole_at: datetime | None
    booted_at: datetime | None
    reported_at: datetime | None
    ended_at: datetime | None
    outcome: str | None


class Event(Struct, frozen=True, kw_only=True):
    """One line of history. ``by`` is an operator's user name, or empty when dispatchd acted."""

    id: int
    at: datetime
    kind: str
    text: str
    by: str
    workload: str | None
    workload_id: int | None
    machine: str | None
    release: str | None


class Workload(Struct, frozen=True, kw_only=True):
    """The answer to ``GET /v1/workloads/ID``, and of retry and cancel."""

    workload: StatusWorkload
    sha256: str | None
    why: str
    attempts: list[Attempt]
    history: list[Event]


class RetryRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    on: str | None = None


# --- machines -------------------------------------------------------------------------------------


class Machine(Struct, frozen=True, kw_only=True):
    """``handed``: what it was given last: a workload, "wait.efi", "poweroff.efi", or None."""

    id: int
    label: str
    name: str | None
    pool: str | None
    note: str
    known_by: KnownBy
    macs: list[str]
    addresses: list[str]
    paused: bool
    held: str | None
    simulated: bool
    seen: datetime | None
    workload: str | None
    state: State | None
    handed: str | None


class Machines(Struct, frozen=True, kw_only=True):
    machines: list[Machine]


class MachineChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``PUT /v1/machines/REF``; REF is an id, a name, a MAC or an address. Absent keys stay.

    A REF that is a name or a MAC not seen yet makes a new machine. An empty pool means none.
    """

    name: str | None = None
    pool: str | None = None
    note: str | None = None
    simulated: bool | None = None


class PauseRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/queue/pause`` and ``/resume``: these machines, or with none the whole queue."""

    machines: list[str] = []


class PauseAnswer(Struct, frozen=True, kw_only=True):
    paused: bool
    machines: list[Machine]


# --- reports --------------------------------------------------------------------------------------


class Report(Struct, frozen=True, kw_only=True):
    """One report with its delivery. The long fields are filled in ``GET /v1/reports/ID`` only."""

    id: str
    title: str
    state: Delivery
    late: bool
    url: str | None
    error: str | None
    warning: str | None
    workload: str
    workload_id: int
    machine: str
    received_at: datetime
    report_to: str | None
    next_at: datetime | None
    body: str = ""
    labels: list[str] = []
    assignees: list[str] = []
    milestone: str | None = None


class Unclaimed(Struct, frozen=True, kw_only=True):
    """A body that was no report, or nobody's. ``answer`` is the status that it got."""

    id: str
    received_at: datetime
    address: str
    mac: str | None
    answer: int
    reason: str
    size: int
    title: str
    body: str = ""


class Reports(Struct, frozen=True, kw_only=True):
    reports: list[Report]
    unclaimed: list[Unclaimed]


class ClaimRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    workload_id: int


class Events(Struct, frozen=True, kw_only=True):
    events: list[Event]


# --- cache ----------------------------------------------------------------------------------------


class CachedFile(Struct, frozen=True, kw_only=True):
    """Bytes that are here whole. ``needed_by``: workloads that are queued, running or reported."""

    sha256: str
    size: int
    names: list[str]
    needed_by: list[str]
    used_at: datetime


class CacheCheck(Struct, frozen=True, kw_only=True):
    """``POST /v1/cache/verify`` begins one; ``ended_at`` is None while it is under way.

    ``checked`` of ``total`` bytes were read again so far; ``corrupt`` names what had to leave.
    """

    started_at: datetime
    ended_at: datetime | None
    checked: int
    total: int
    corrupt: list[str]


class Cache(Struct, frozen=True, kw_only=True):
    """The answer to ``GET /v1/cache``. ``used`` counts what is still arriving in full;
    ``prunable`` is what ``POST /v1/cache/prune`` would free."""

    directory: str
    used: int
    max_size: int
    free: int
    min_free: int
    prunable: int
    files: list[CachedFile]
    check: CacheCheck | None


class Pruned(Struct, frozen=True, kw_only=True):
    """What ``POST /v1/cache/prune`` removed, and the bytes that this freed."""

    files: list[CachedFile]
    freed: int


# --- token ----------------------------------------------------------------------------------------


class TokenRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: str


class TokenAnswer(Struct, frozen=True, kw_only=True):
    """``login`` is the account that the token acts as; None with a ``warning`` that says why."""

    login: str | None
    warning: str | None = None


class BackupAnswer(Struct, frozen=True, kw_only=True):
    """What `dispatchctl backup` prints; ``GET /v1/backup`` itself answers the database's bytes."""

    file: str
    size: int


class Empty(Struct, frozen=True, kw_only=True):
    """An answer with nothing to say."""
