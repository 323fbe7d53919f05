"""What was asked for when a release was loaded: its later assets are queued the same way."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "releases", sa.Column("asked", sa.Text(), nullable=False, server_default=sa.text("''"))
    )
