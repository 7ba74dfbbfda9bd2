"""Folders of buckets in servers."""

import sqlalchemy as sa
from alembic import op

revision = "mounts_0002"
down_revision = "mounts_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the columns."""
    with op.batch_alter_table("mounts") as batch:
        batch.add_column(sa.Column("bucket", sa.Text(), nullable=True))
        batch.add_column(sa.Column("source", sa.Text(), nullable=False, server_default=""))
        batch.add_column(
            sa.Column("read_only", sa.Boolean(), nullable=False, server_default=sa.true())
        )
        batch.add_column(sa.Column("todo", sa.String(16), nullable=False, server_default=""))
        batch.add_column(sa.Column("unsent", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Remove them, and what they are about."""
    op.execute("DELETE FROM mounts WHERE bucket IS NOT NULL")
    with op.batch_alter_table("mounts") as batch:
        for name in ("unsent", "todo", "read_only", "source", "bucket"):
            batch.drop_column(name)
