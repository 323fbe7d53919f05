"""What a delivery has to remember across a restart, and reports of workloads that failed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for table, name, kind, default in (
        ("outbox", "looks", sa.BigInteger(), "0"),
        ("outbox", "issue", sa.BigInteger(), "0"),
        ("outbox", "comments", sa.BigInteger(), "0"),
        ("outbox", "room", sa.BigInteger(), "0"),
        ("outbox", "dropped", sa.Text(), "[]"),
        ("outbox", "limited", sa.Boolean(), "0"),
        ("reports", "failure", sa.Boolean(), "0"),
        ("releases", "report_failures", sa.Boolean(), "0"),
    ):
        # The default is for the rows that are there; new ones state their own.
        column: sa.Column[object] = sa.Column(name, kind, nullable=False, server_default=default)
        op.add_column(table, column)
    op.add_column("outbox", sa.Column("failing_since", sa.String(27), nullable=True))
