"""What is mounted in which server."""

import sqlalchemy as sa
from alembic import op

revision = "mounts_0001"
down_revision = None
branch_labels = ("mounts",)
depends_on = ("datasets_0003",)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "mounts",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("user_name", sa.String(255), nullable=False),
        sa.Column("server", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("version_id", sa.String(40), nullable=False),
        sa.Column("place", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("job_id", sa.String(32), nullable=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("used_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mounts"),
        sa.UniqueConstraint("user_name", "server", "name", name="uq_mounts_user_name_server_name"),
    )
    op.create_index("ix_mounts_version_id", "mounts", ["version_id"])


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("mounts")
