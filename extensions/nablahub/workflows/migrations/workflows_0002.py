"""An index by which the runs of teams are listed: a page costs the same however many there are."""

from alembic import op

revision = "workflows_0002"
down_revision = "workflows_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    columns = ["team_id", "created_at", "uuid"]
    op.create_index("ix_workflow_runs_team_id_created_at_uuid", "workflow_runs", columns)


def downgrade() -> None:
    """Remove it."""
    op.drop_index("ix_workflow_runs_team_id_created_at_uuid", "workflow_runs")
