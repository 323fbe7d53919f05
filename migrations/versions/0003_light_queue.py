"""Indexes that keep a claim as quick with years of history as without."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("ix_releases_unloaded_at", "releases", ["unloaded_at"])
    op.create_index("ix_workloads_release_id_state", "workloads", ["release_id", "state"])
