"""A backup becomes the database again. The world has moved on since it was made: what may have
happened meanwhile is looked for, and nothing is taken as still running.
"""

import logging
import os
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from dispatchd.domain.event import Kind
from dispatchd.domain.lifecycle import advance, after
from dispatchd.domain.model import Attempt, Outcome, State
from dispatchd.errors import Conflict, StoreError
from dispatchd.services import journal
from dispatchd.services.clock import Clock
from dispatchd.settings import Settings
from dispatchd.store.lock import locked
from dispatchd.store.replacement import is_worth_something, prepare, put_in_place
from dispatchd.store.store import Store, Transaction
from dispatchd.wire import counted

log = logging.getLogger(__name__)


def restore(file: Path, settings: Settings, clock: Clock, *, force: bool, by: str) -> None:
    """Replace the database by a backup, while no daemon runs; the one before is kept beside it.

    Raises Conflict where there is something to lose and ``force`` is not given, and StoreError.
    """
    database = Path(sa.make_url(settings.database).database or "")
    log_of = Path(f"{file}-wal")
    if log_of.exists() and log_of.stat().st_size:
        raise StoreError(
            f"cannot restore {file}: it is in use, or was not closed",
            hint="dispatchctl backup FILE makes a copy that can be restored",
        )
    try:
        backup = file.open("rb")
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror}") from error
    with backup:
        # Read as whoever we are; what is written belongs to the daemon.
        _become_owner(settings.state_dir)
        with locked(settings.state_dir):
            if not force and is_worth_something(database):
                raise Conflict(
                    f"cannot restore {file}: there is something in {database} already",
                    hint="--force replaces it, and keeps it beside the restored one",
                )
            prepared = prepare(backup, str(file), database)
            store = Store(f"sqlite:///{prepared}", listeners=[journal.tell])
            try:
                catch_up(store, clock, source=str(file), by=by)
            finally:
                store.close()
            kept = put_in_place(prepared, database, now=clock.now())
    if kept is not None:
        log.info("the database before is kept as %s", kept)


def catch_up(store: Store, clock: Clock, *, source: str, by: str) -> None:
    """Adapt a database that was put aside some time ago to a world that went on."""
    now = clock.now()
    with store.writing() as tx:
        before = tx.events.latest()
        attempts = tx.attempts.open()
        for attempt in attempts:
            _end(tx, attempt, now)
        tx.assets.check_again()
        unfiled = tx.outbox.look_first()
        when = f" of {before.at:%Y-%m-%d %H:%M:%S} UTC" if before else ""
        text = (
            f"restored from {source}{when}: {counted(len(attempts), 'attempt')} ended, "
            f"{counted(unfiled, 'report')} looked for before filing"
        )
        tx.tell(Kind.RESTORED, text, at=now, by=by)


def _end(tx: Transaction, attempt: Attempt, now: datetime) -> None:
    """End an attempt as no machine's fault. A beacon that still runs reports late, and is heard."""
    outcome = Outcome.REPORTED if attempt.state is State.REPORTED else Outcome.LAPSED
    attempt = tx.attempts.swap(attempt, ended_at=now, outcome=outcome)
    workload = tx.workloads.get(attempt.workload_id)
    queued = tx.releases.get(workload.release_id).unloaded_at is None
    on_file = tx.reports.on_file(workload.id, workload.run)
    event = after(workload, outcome, on_file=on_file, queued=queued)
    if event is None:
        return
    state = advance(workload.state, event)
    workload = tx.workloads.swap(workload, state=state, reason="restored", changed_at=now)
    machine = tx.machines.get(attempt.machine_id)
    text = f"{workload.label} on {machine.label}: ended by the restore, {state}"
    tx.tell(Kind.LAPSED, text, at=now, workload=workload, machine=machine, attempt=attempt)


def _become_owner(directory: Path) -> None:
    """As root, go on as the user that the directory is of: root's files would shut it out."""
    if os.geteuid() != 0 or not directory.exists():
        return
    status = directory.stat()
    if status.st_uid != 0:
        os.setgroups([])
        os.setgid(status.st_gid)
        os.setuid(status.st_uid)
