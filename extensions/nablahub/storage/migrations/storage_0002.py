"""What servers on a cluster found in the claims they have."""

import sqlalchemy as sa
from alembic import op

revision = "storage_0002"
down_revision = "storage_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "storage_usage",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("found", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "owner", name="pk_storage_usage"),
    )


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("storage_usage")
