"""An index by which the jobs of teams are listed: a page costs the same however many there are."""

from alembic import op

revision = "jobs_0003"
down_revision = "jobs_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    columns = ["team_id", "created_at", "id"]
    op.create_index("ix_jobs_team_id_created_at_id", "jobs", columns)


def downgrade() -> None:
    """Remove it."""
    op.drop_index("ix_jobs_team_id_created_at_id", "jobs")
