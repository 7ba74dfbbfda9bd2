"""Workspaces: folders that go with jobs."""

import sqlalchemy as sa
from alembic import op

revision = "jobs_0002"
down_revision = "jobs_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the column."""
    op.create_table(
        "job_workspaces",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("used_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name="fk_job_workspaces_team_id"),
        sa.PrimaryKeyConstraint("id", name="pk_job_workspaces"),
    )
    op.create_index("ix_job_workspaces_team_id_digest", "job_workspaces", ["team_id", "digest"])
    with op.batch_alter_table("jobs") as batch:
        batch.add_column(sa.Column("workspace_id", sa.String(32), nullable=True))
    op.create_index("ix_jobs_workspace_id", "jobs", ["workspace_id"])


def downgrade() -> None:
    """Remove them."""
    op.drop_index("ix_jobs_workspace_id", "jobs")
    with op.batch_alter_table("jobs") as batch:
        batch.drop_column("workspace_id")
    op.drop_index("ix_job_workspaces_team_id_digest", "job_workspaces")
    op.drop_table("job_workspaces")
