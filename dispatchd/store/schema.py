"""The tables. The schema itself holds the promises that it can: one open attempt per workload and
per machine, one report per attempt and content, no cascades.

Portable SQL: times are UTC text of fixed width (they sort), lists are JSON text.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from dispatchd.domain.model import Arrival, Delivery, Outcome, Source, State

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

E = TypeVar("E", bound=StrEnum)


class Moment(sa.TypeDecorator[datetime]):
    """An instant: RFC 3339 text in UTC with microseconds."""

    impl = sa.String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class Words(sa.TypeDecorator[tuple[str, ...]]):
    """A list of words, as JSON text."""

    impl = sa.Text()
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:
        return None if value is None else msgspec.json.decode(value, type=tuple[str, ...])


class Word(sa.TypeDecorator[Any]):
    """One of an enumeration's words."""

    impl = sa.String(40)
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        return None if value is None else value.value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.words(value)


def _text(name: str, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, default="", **options)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, default=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, default=0)


def _moment(name: str, *, nullable: bool = True) -> sa.Column[datetime]:
    return sa.Column(name, Moment, nullable=nullable)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True)


queue = sa.Table(
    "queue",
    metadata,
    _id(),
    _flag("paused"),
    _text("paused_by"),
)

releases = sa.Table(
    "releases",
    metadata,
    _id(),
    sa.Column("source", Word(Source), nullable=False),
    _text("name", unique=True),
    _text("owner"),
    _text("repo"),
    _text("tag"),
    _text("directory"),
    _text("report_to"),
    _flag("filing"),
    _flag("report_failures"),
    _text("asked"),
    sa.Column("filters", Words, nullable=False),
    _flag("all_efi"),
    _moment("loaded_at", nullable=False),
    sa.Column("unloaded_at", Moment, index=True),
    _flag("unfinished"),
    _text("drift"),
)

assets = sa.Table(
    "assets",
    metadata,
    _id(),
    sa.Column("release_id", sa.ForeignKey("releases.id"), nullable=False, index=True),
    _text("name"),
    _count("size"),
    _text("sha256", index=True),
    _text("media_type"),
    _text("content_type"),
    _count("remote_id"),
    _text("url"),
    _text("download_url"),
    _text("updated_at"),
    sa.Column("arrival", Word(Arrival), nullable=False, index=True),
    _text("reason"),
)

machines = sa.Table(
    "machines",
    metadata,
    _id(),
    _text("name"),
    _text("pool"),
    _text("note"),
    _flag("paused"),
    _text("held"),
    _count("trusted_after"),
    _flag("simulated"),
    _moment("created_at", nullable=False),
    _moment("seen_at"),
    _moment("waiting_since"),
    _text("handed"),
    sa.Column("sent_attempt_id", sa.Integer),
    sa.Index("uq_machines_name", "name", unique=True, sqlite_where=sa.text("name <> ''")),
    sa.Index("ix_machines_seen_at", "seen_at"),
)

macs = sa.Table(
    "macs",
    metadata,
    sa.Column("mac", sa.String(17), primary_key=True),
    sa.Column("machine_id", sa.ForeignKey("machines.id"), nullable=False, index=True),
    _text("asked_as", index=True),
    _moment("asked_at"),
    _moment("seen_at", nullable=False),
    sa.Column("sent_attempt_id", sa.Integer),
)

addresses = sa.Table(
    "addresses",
    metadata,
    sa.Column("address", sa.String(64), primary_key=True),
    sa.Column("machine_id", sa.ForeignKey("machines.id"), nullable=False, index=True),
    _moment("seen_at", nullable=False),
)

workloads = sa.Table(
    "workloads",
    metadata,
    _id(),
    sa.Column("release_id", sa.ForeignKey("releases.id"), nullable=False),
    sa.Column("asset_id", sa.ForeignKey("assets.id"), nullable=False, index=True),
    _text("name"),
    _text("pool"),
    sa.Column("pinned_to", sa.ForeignKey("machines.id")),
    _count("priority"),
    _count("max_tries"),
    sa.Column("report_timeout", sa.Float),
    sa.Column("state", Word(State), nullable=False, index=True),
    _text("reason"),
    sa.Column("run", sa.Integer, nullable=False, default=1),
    _count("tries"),
    _moment("changed_at", nullable=False),
    sa.UniqueConstraint("release_id", "asset_id", "pool"),
    sa.Index("ix_workloads_release_id_state", "release_id", "state"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    _id(),
    sa.Column("workload_id", sa.ForeignKey("workloads.id"), nullable=False),
    sa.Column("machine_id", sa.ForeignKey("machines.id"), nullable=False),
    _count("number"),
    _count("run"),
    _moment("assigned_at", nullable=False),
    _moment("first_byte_at"),
    _moment("whole_at"),
    _moment("booted_at"),
    _moment("reported_at"),
    _moment("ended_at"),
    sa.Column("outcome", Word(Outcome)),
    _count("asks"),
    _count("asks_since_whole"),
    _count("sent"),
    sa.Index("ix_attempts_workload_id_id", "workload_id", "id"),
    sa.Index("ix_attempts_machine_id_id", "machine_id", "id"),
    sa.Index(
        "uq_attempts_open_workload",
        "workload_id",
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
    sa.Index(
        "uq_attempts_open_machine",
        "machine_id",
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
)

promises = sa.Table(
    "promises",
    metadata,
    sa.Column("machine_id", sa.ForeignKey("machines.id"), primary_key=True),
    _moment("made_at", nullable=False),
    _flag("by_head"),
    _count("status"),
    sa.Column("attempt_id", sa.ForeignKey("attempts.id")),
    _text("program"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    _text("sha256"),
    _count("size"),
    _text("media_type"),
)

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("attempt_id", sa.ForeignKey("attempts.id"), nullable=False),
    _text("content_hash"),
    _text("title"),
    _text("body"),
    sa.Column("labels", Words, nullable=False),
    sa.Column("assignees", Words, nullable=False),
    _text("milestone"),
    _moment("received_at", nullable=False),
    _flag("late"),
    _flag("failure"),
    sa.UniqueConstraint("attempt_id", "content_hash"),
    sa.Index("ix_reports_received_at", "received_at"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("report_id", sa.ForeignKey("reports.id"), primary_key=True),
    sa.Column("state", Word(Delivery), nullable=False),
    _text("report_to"),
    _count("tries"),
    _moment("next_at", nullable=False),
    _moment("posting_at"),
    _count("looks"),
    _count("issue"),
    _count("comments"),
    _count("room"),
    sa.Column("dropped", Words, nullable=False, default=()),
    _flag("limited"),
    _moment("failing_since"),
    _text("url"),
    _text("error"),
    _text("warning"),
    sa.Index("ix_outbox_state_next_at", "state", "next_at"),
)

unclaimed = sa.Table(
    "unclaimed",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    _moment("received_at", nullable=False),
    _text("address"),
    _text("mac"),
    _count("answer"),
    _text("reason"),
    _text("title"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("ix_unclaimed_received_at", "received_at"),
)

knocks = sa.Table(
    "knocks",
    metadata,
    _id(),
    _moment("at", nullable=False),
    _text("address"),
    _text("mac"),
    sa.Column("machine_id", sa.Integer),
    _text("request"),
    _text("agent"),
    _text("answer"),
)

events = sa.Table(
    "events",
    metadata,
    _id(),
    _moment("at", nullable=False),
    _text("kind"),
    _text("text"),
    _text("by"),
    sa.Column("workload_id", sa.Integer, index=True),
    sa.Column("machine_id", sa.Integer),
    sa.Column("release_id", sa.Integer),
    sa.Column("attempt_id", sa.Integer),
    sa.Column("report_id", sa.String(36)),
)
