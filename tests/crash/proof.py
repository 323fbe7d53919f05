"""What must be true of a dead daemon's disk, and of GitHub when everything has settled."""

import hashlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dispatchd.domain.issue import marker
from dispatchd.services.filing import LOOKS
from tests.crash.ledger import Ledger
from tests.github_standin.world import Repository

_OPEN = "SELECT {} FROM attempts WHERE ended_at IS NULL GROUP BY 1 HAVING count(*) > 1"
#: Workloads whose state is not that of their open attempt, and the reverse.
_STATES = """
SELECT workloads.id, workloads.state, attempts.id FROM workloads
LEFT JOIN attempts ON attempts.workload_id = workloads.id AND attempts.ended_at IS NULL
WHERE (workloads.state IN ('assigned', 'downloading', 'booting')) <> (
    attempts.id IS NOT NULL AND attempts.reported_at IS NULL)
"""

_FILED = """
SELECT reports.id, reports.body, outbox.comments FROM reports
JOIN outbox ON outbox.report_id = reports.id WHERE outbox.state <> 'kept'
"""


def prove_disk(directory: Path, ledger: Ledger) -> None:
    """Everything that was acknowledged before the daemon died is here, once, and consistent.

    Looks at a copy of the database: to recover it is left to the next daemon.
    """
    if not (directory / "state/dispatchd.db").exists():
        return
    known = set(ledger.acknowledged), set(ledger.unclaimed)
    with _copy(directory / "state") as database:
        for check in ("integrity_check", "foreign_key_check"):
            found = database.execute(f"PRAGMA {check}").fetchall()
            if found not in ([], [("ok",)]):
                ledger.blame(f"{check}: {found}")
        if not database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'reports'").fetchone():
            return
        _prove_reports(database, *known, ledger)
        for column in ("workload_id", "machine_id"):
            for (owner,) in database.execute(_OPEN.format(column)):
                ledger.blame(f"{column} {owner} has two open attempts")
        for row in database.execute(_STATES):
            ledger.blame(f"workload {row[0]} is {row[1]}, its open attempt is {row[2]}")
    _prove_cache(directory / "cache", ledger)


def _prove_reports(
    database: sqlite3.Connection, acknowledged: set[str], unclaimed: set[str], ledger: Ledger
) -> None:
    titles = Counter(title for (title,) in database.execute("SELECT title FROM reports"))
    kept = {title for (title,) in database.execute("SELECT title FROM unclaimed")}
    for title in sorted(acknowledged - titles.keys()):
        ledger.blame(f"lost: {title!r} was answered 200")
    for title in sorted(unclaimed - kept - titles.keys()):
        ledger.blame(f"lost: {title!r} was answered 417 and is not among the unclaimed")
    for title, count in titles.items():
        if count > 1:
            ledger.blame(f"kept {count} times: {title!r}")
    query = "SELECT id FROM reports WHERE id NOT IN (SELECT report_id FROM outbox)"
    for (report,) in database.execute(query):
        ledger.blame(f"report {report} has no delivery")


def _prove_cache(cache: Path, ledger: Ledger) -> None:
    for file in cache.glob("[0-9a-f]" * 64):
        if hashlib.sha256(file.read_bytes()).hexdigest() != file.name:
            ledger.blame(f"the cache takes a part of {file.name} for the whole")


def undelivered(directory: Path) -> list[str]:
    """The reports that are not issues yet."""
    with closing(sqlite3.connect(directory / "state/dispatchd.db")) as database:
        query = "SELECT report_id FROM outbox WHERE state NOT IN ('filed', 'kept')"
        return [report for (report,) in database.execute(query)]


def spend_looks(directory: Path) -> None:
    """Leave one look for each issue that may be there: this GitHub's lists do not lag, and waiting
    for the others takes minutes.
    """
    with closing(sqlite3.connect(directory / "state/dispatchd.db")) as database, database:
        database.execute(
            "UPDATE outbox SET looks = ?, next_at = posting_at "
            "WHERE state = 'pending' AND posting_at IS NOT NULL AND NOT limited",
            [LOOKS - 1],
        )


def prove_github(directory: Path, repository: Repository, ledger: Ledger) -> int:
    """There is one issue for every report, with every line of it, and none for anything else; how
    many there are.
    """
    with _copy(directory / "state") as database:
        reports = database.execute(_FILED).fetchall()
    for report, text, comments in reports:
        issues = [one for one in repository.issues if marker(report) in (one.body or "")]
        if len(issues) != 1:
            ledger.blame(f"report {report} has {len(issues)} issues")
            continue
        parts = [comment.body for comment in issues[0].comments]
        named = [part.partition("\n")[0] for part in parts]
        if named != [marker(report, number + 1) for number in range(comments)]:
            ledger.blame(f"report {report} has these comments: {named}")
        lines = "\n".join([issues[0].body or "", *parts]).split("\n")
        lacking = set(text.splitlines()) - set(lines)
        if lacking:
            ledger.blame(f"{len(lacking)} lines of report {report} are not on GitHub")
    if len(repository.issues) != len(reports):
        ledger.blame(f"{len(repository.issues)} issues for {len(reports)} reports")
    return len(reports)


@contextmanager
def _copy(state: Path) -> Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory() as directory:
        for file in state.glob("dispatchd.db*"):
            shutil.copy(file, directory)
        with closing(sqlite3.connect(Path(directory) / "dispatchd.db")) as database:
            yield database
