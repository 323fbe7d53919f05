"""A database with a past: as many workloads, attempts, reports, events and knocks as asked for."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

#: Workloads of each release of the past, and machines that ran them.
PER_RELEASE, MACHINES = 20, 20
#: Of so many workloads of the past, one failed and one was never run.
FAILED, UNTRIED = 10, 25
EVENTS_PER_WORKLOAD = 5
BEGINNING = datetime(2025, 1, 1, tzinfo=UTC)


def fill(database: Path, count: int) -> None:
    """Add ``count`` workloads of unloaded releases to a migrated database, with all they left."""
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        _machines(connection)
        _releases(connection, count)
        _workloads(connection, count)
        _reports(connection, count)
        _history(connection, count)
    connection.close()


def _at(number: int) -> str:
    """The instant of the workload with this number: they come every two minutes."""
    return (BEGINNING + timedelta(minutes=2 * number)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, object]]) -> None:
    names = ", ".join(f'"{name}"' for name in rows[0])
    marks = ", ".join("?" for _ in rows[0])
    connection.executemany(
        f"INSERT INTO {table} ({names}) VALUES ({marks})", (tuple(row.values()) for row in rows)
    )


def _row(connection: sqlite3.Connection, table: str, **values: object) -> dict[str, object]:
    """The values, and something empty in every other column that must not be null."""
    row = dict(values)
    for _, name, kind, required, default, key in connection.execute(f"PRAGMA table_info({table})"):
        if required and default is None and not key and name not in row:
            row[name] = "" if "CHAR" in kind or "TEXT" in kind else b"" if kind == "BLOB" else 0
    return row


def _machines(connection: sqlite3.Connection) -> None:
    numbers = range(1, MACHINES + 1)
    plain = _row(connection, "machines", id=0, name="", created_at=_at(0), seen_at=_at(0))
    rows = [plain | {"id": number, "name": f"epyc-{number:02}"} for number in numbers]
    _insert(connection, "machines", rows)


def _releases(connection: sqlite3.Connection, count: int) -> None:
    plain = _row(
        connection,
        "releases",
        id=0,
        source="directory",
        name="",
        filters="[]",
        loaded_at=_at(0),
        unloaded_at=_at(0),
    )
    numbers = range(1, count // PER_RELEASE + 2)
    rows = [plain | {"id": number, "name": f"past/release@{number}"} for number in numbers]
    _insert(connection, "releases", rows)


def _workloads(connection: sqlite3.Connection, count: int) -> None:
    # Their bytes have left the cache long ago.
    asset = _row(connection, "assets", id=0, release_id=0, arrival="arriving", size=512 << 20)
    workload = _row(connection, "workloads", id=0, release_id=0, state="finished", run=1)
    attempt = _row(connection, "attempts", id=0, number=1, run=1, asks=1)
    assets, workloads, attempts = [], [], []
    for number in range(1, count + 1):
        of = {"release_id": number // PER_RELEASE + 1, "name": f"image-{number}.efi"}
        assets.append(asset | of | {"id": number, "sha256": f"{number:064x}"})
        failed = number % FAILED == 0
        state = "failed" if failed else "unassigned" if number % UNTRIED == 1 else "finished"
        known = {"id": number, "asset_id": number, "state": state, "max_tries": 2}
        workloads.append(workload | of | known | {"changed_at": _at(number)})
        times = ("assigned_at", "first_byte_at", "whole_at", "booted_at", "reported_at", "ended_at")
        attempts.append(
            attempt
            | dict.fromkeys(times, _at(number))
            | {
                "id": number,
                "workload_id": number,
                "machine_id": number % MACHINES + 1,
                "reported_at": None if failed else _at(number),
                "outcome": "no report" if failed else "reported",
            }
        )
    _insert(connection, "assets", assets)
    _insert(connection, "workloads", workloads)
    _insert(connection, "attempts", attempts)


def _reports(connection: sqlite3.Connection, count: int) -> None:
    report = _row(connection, "reports", id="", attempt_id=0, labels="[]", assignees="[]")
    entry = _row(connection, "outbox", report_id="", state="filed", dropped="[]")
    reports, outbox = [], []
    for number in range(1, count + 1):
        identity = f"report-{number}"
        said = {"title": f"image {number} certified", "content_hash": f"{number:064x}"}
        known = {"id": identity, "attempt_id": number, "received_at": _at(number)}
        reports.append(report | known | said | {"body": "all is well\n" * 40})
        outbox.append(entry | {"report_id": identity, "next_at": _at(number)})
    _insert(connection, "reports", reports)
    _insert(connection, "outbox", outbox)


def _history(connection: sqlite3.Connection, count: int) -> None:
    event = _row(connection, "events", at="", kind="booting", text="image: booting on epyc-01")
    events = [
        event | {"at": _at(number), "workload_id": number, "machine_id": number % MACHINES + 1}
        for number in range(1, count + 1)
        for _ in range(EVENTS_PER_WORKLOAD)
    ]
    _insert(connection, "events", events)
    knock = _row(connection, "knocks", at="", address="10.0.0.7", request="HEAD /dispatch")
    _insert(connection, "knocks", [knock | {"at": _at(number)} for number in range(1, count + 1)])
