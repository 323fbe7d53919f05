"""No use case reads a table whole that grows with the years."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tests.dispatcher.lab import Lab, machine

GROWING = ("releases", "assets", "workloads", "attempts", "reports", "outbox", "events")
#: Not whole either: the few open attempts and the newest reports, by an index; any one row.
ALLOWED = {
    "SCAN reports USING INDEX ix_reports_received_at",
    "SCAN attempts USING INDEX uq_attempts_open_machine",
    "SCAN releases USING COVERING INDEX sqlite_autoindex_releases_1",
}


@contextmanager
def recorded() -> Iterator[list[tuple[str, Any]]]:
    """Every statement that any engine executes meanwhile, with its parameters."""
    said: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def play(lab: Lab) -> None:
    """Everything that machines, time and people who look make happen."""
    ids = lab.load("a.efi", "b.efi", "c.efi")
    epyc, other = machine(lab, 1, name="epyc", mac="aa:00:00:00:00:01"), machine(lab, 2)
    for _ in range(2):
        epyc.download()
        epyc.boot()
        lab.overview.status()
        epyc.report()
        lab.overseer.look()
    other.download()
    lab.later(600)
    other.boot()
    other.report()
    epyc.download()
    other.download()
    lab.settle_outbox()
    lab.later(30)
    lab.overview.counts()
    lab.overview.status()
    lab.overview.workload(ids[0])
    lab.overview.machines()
    lab.overview.reports()
    lab.overview.events(0)
    lab.operator.retry(ids[0], on=None, by="alice")
    lab.operator.cancel(ids[0], by="alice")


def test_no_use_case_reads_whole_tables(lab: Lab) -> None:
    with recorded() as said:
        play(lab)
    statements = dict(said)
    scans = set()
    with sqlite3.connect(lab.url.removeprefix("sqlite:///")) as connection:
        for statement, parameters in statements.items():
            if not statement.startswith(("SELECT", "UPDATE", "DELETE")):
                continue
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters):
                plan = row[3]
                if plan.startswith(tuple(f"SCAN {table}" for table in GROWING)):
                    scans.add((plan, statement))
    connection.close()
    assert len(statements) > 40
    assert [scan for scan in scans if scan[0] not in ALLOWED] == []


def test_a_look_at_the_queue_takes_as_many_statements_however_long_it_is(lab: Lab) -> None:
    def look() -> int:
        with recorded() as said:
            lab.overview.status()
            lab.overview.machines()
            lab.overview.reports()
        return len(said)

    lab.load(*(f"{number}.efi" for number in range(12)))
    machines = [machine(lab, number, name=f"epyc-{number}") for number in range(1, 7)]
    looks = []
    for one in machines:
        one.download()
        one.boot()
        looks.append(look())
        one.report()
        one.download()
        looks.append(look())
    assert set(looks) == {looks[0]}


def test_pages_of_reports_read_none_of_their_bodies(lab: Lab) -> None:
    (only,) = lab.load("a.efi")
    epyc = machine(lab)
    epyc.download()
    epyc.report()
    with recorded() as said:
        (row,) = lab.overview.status().workloads
        lab.overview.workload(only)
        lab.overview.reports()
    assert row.reports
    assert [statement for statement, _ in said if "reports.body" in statement] == []
    with recorded() as said:
        assert lab.overview.report(row.reports[0].id)
    assert [statement for statement, _ in said if "reports.body" in statement]
