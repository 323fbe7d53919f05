"""Events: lines of history, and the catalogue of their kinds."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self, TypedDict

from dispatchd.domain.model import Attempt, Machine, Outcome, Release, Report, Workload


class Severity(StrEnum):
    """Info: as it should be. Warning: somebody may want to look. Error: somebody must act."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Kind(StrEnum):
    """What happened: the word that history keeps, journald's MESSAGE_ID, and how grave it is.

    Words and ids never change and are never used again: people and programs search for them.
    """

    message_id: str
    severity: Severity

    def __new__(cls, word: str, message_id: str = "", severity: Severity = Severity.INFO) -> Self:
        kind = str.__new__(cls, word)
        kind._value_ = word
        kind.message_id = message_id
        kind.severity = severity
        return kind

    STARTED = "started", "cafbbf0395854614b0ecb318459db8c9"
    STOPPED = "stopped", "7356ef04aaf14e0eb036cc2d82d68156"
    RELOADED = "reloaded", "e0eec41b5c6742bab6a17e396c0e6cc1"
    BACKED_UP = "backed-up", "d9084d6a629b4147b9b50ab24b763bd2"
    RESTORED = "restored", "e343097d6b304b448b5acf9761af51cc"

    LOADED = "loaded", "8cd4bac49af34a8fa60ba94877bd32e6"
    UNLOADED = "unloaded", "2b5e3ff26c0142468f74c10834f3c84b"
    DRIFTED = "drifted", "2ccd551846ac496486099ac1d6047727", Severity.WARNING
    WITHDRAWN = "withdrawn", "b862dfc842304b76aaa9ae912a534bab", Severity.ERROR
    BYTES_WHOLE = "bytes-whole", "1b741ef1f4a44dc4aa671c8794a67d5c"
    BYTES_LOST = "bytes-lost", "510efea952d14836a1c349f90ae57efa", Severity.WARNING
    BYTES_REMOVED = "bytes-removed", "9348984f27424d98b6c696abd69f7d41"
    BYTES_CORRUPT = "bytes-corrupt", "217573371e7c4e6bb2e901df39ce9889", Severity.WARNING
    BYTES_KNOWN = "bytes-known", "6783020711034a808691ef66dee058ad"

    ASSIGNED = "assigned", "d96d89f981694bababf5f3c525f9285c"
    DOWNLOADING = "downloading", "573c7caa4fa54700a081ebcfdf893a96"
    WHOLE = "whole", "1ad5e0f06a3044bda867e52dae0db8f4"
    BOOTING = "booting", "c101da5709e243f6b9379ff5cd0050e9"
    REOPENED = "reopened", "30710a9199844f88ac97f46ae7b92997"
    REPORTED = "reported", "55be4267b1ad4d05ac8b54aee900da2a"
    FINISHED = "finished", "bded7429ad694443b469b3f8bd45f5a1"

    REBOOTED = "attempt-rebooted", "73fed44911564f94a3c47f2a6749c268", Severity.WARNING
    DID_NOT_BOOT = "attempt-did-not-boot", "14aa43dfb1624fdf87f65d464196353b", Severity.WARNING
    DOWNLOAD_FAILING = (
        "attempt-download-failing",
        "e0b134dd95674c66921d3de239e6d154",
        Severity.WARNING,
    )
    STALLED = "attempt-stalled", "14aa226c27704b0eb810a274d13c63ac", Severity.WARNING
    NO_BOOT = "attempt-no-boot", "455ec8e54f9a4eb29ae0c6846af922e2", Severity.WARNING
    NO_REPORT = "attempt-no-report", "22cd7885b26347849fccd87da0eba634", Severity.WARNING
    LAPSED = "attempt-lapsed", "81733862af974ea1a3975530baf1431c", Severity.WARNING
    LOST = "attempt-lost", "1cc1d99fc3634e9dbe69614ee4854dc8", Severity.WARNING
    STOPPED_BY_HAND = "attempt-cancelled", "2b53aa1a0dcc44ac848735dc14cf7e6e"

    RETRIED = "retried", "73ef461f0b7c4332ad5df6c8b2101e90"
    CANCELLED = "cancelled", "26a5478ca91a44eca2be1d8ec6002fef"
    QUEUE_PAUSED = "queue-paused", "3b0fb931f90541ae8ac359824f0228e8"
    QUEUE_RESUMED = "queue-resumed", "5ea90987684e4eda8c4a19b709acc9bf"

    MACHINE_PAUSED = "machine-paused", "a8e00c936c5745e58a8435f6e95747df"
    MACHINE_RESUMED = "machine-resumed", "e195f0d444e44bde8e15349ae522d78a"
    MACHINE_HELD = "machine-held", "a43a65a0154045b0a84cde18c384aea4", Severity.ERROR
    GIVEN_BACK = "given-back", "988f01a9f331444bb20eea06686c310b"
    MACHINE_RELEASED = "machine-released", "c1419fc8e82943c695301f5960399569"
    MACHINE_SET = "machine-set", "3fda316bd23a4079a630e1d6bf1d3dee"
    MACHINE_FORGOTTEN = "machine-forgotten", "353e6b834f0a46d3a0efd153250478cb"
    NAME_CONFLICT = "name-conflict", "333f3d81774445a29196edfc7e0b7214", Severity.ERROR
    WAITED_TOO_LONG = "waited-too-long", "39e71d75d8a3490ab339002b51869957", Severity.WARNING

    UNCLAIMED = "unclaimed", "68c75de741eb42ffab10f2aaeb065a80", Severity.WARNING
    CLAIMED = "claimed", "b85785f469104cc493a932892b4f6c4c"
    FAILURE_REPORTED = "failure-reported", "fbd511854830478189d67b79c24b3c8f", Severity.WARNING
    REPORT_FILED = "report-filed", "96ae68c0189a4cdb9f9783113d6d4bc7"
    REPORT_HELD = "report-held", "861e0b143e1c4bda90f09c50ad6f3d12", Severity.ERROR
    REPORT_REFUSED = "report-refused", "44adf01161dc487e96346c9c93e9a6fd", Severity.ERROR
    REPORT_RETRIED = "report-retried", "b28a624bdfbf4ca0a73bb8d796f06024"
    LOGGED_IN = "logged-in", "86295dde4adc4a2796ef9680e611e49c"


#: How history tells an attempt's end. That one ended well is told of its report.
ENDINGS = {
    Outcome.REBOOTED: Kind.REBOOTED,
    Outcome.DID_NOT_BOOT: Kind.DID_NOT_BOOT,
    Outcome.DOWNLOAD_FAILING: Kind.DOWNLOAD_FAILING,
    Outcome.STALLED: Kind.STALLED,
    Outcome.NO_BOOT: Kind.NO_BOOT,
    Outcome.NO_REPORT: Kind.NO_REPORT,
    Outcome.LAPSED: Kind.LAPSED,
    Outcome.LOST: Kind.LOST,
    Outcome.CANCELLED: Kind.STOPPED_BY_HAND,
}


class Subjects(TypedDict, total=False):
    """The things that an event can be about."""

    workload: Workload
    machine: Machine
    release: Release
    attempt: Attempt
    report: Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One line of history with the things it is about, as they were when it was committed.

    ``by`` is the person who did it, or empty.
    """

    id: int
    at: datetime
    kind: Kind
    text: str
    by: str = ""
    workload: Workload | None = None
    machine: Machine | None = None
    release: Release | None = None
    attempt: Attempt | None = None
    report: Report | None = None
