"""Storage providers."""

import sqlalchemy as sa
from alembic import op

revision = "storage_0001"
down_revision = None
branch_labels = ("storage",)
depends_on = ("teams_0001",)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "storage_providers",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("public_endpoint", sa.Text(), nullable=False),
        sa.Column("region", sa.String(64), nullable=False),
        sa.Column("path_style", sa.Boolean(), nullable=False),
        sa.Column("direct", sa.Boolean(), nullable=False),
        sa.Column("cors", sa.Boolean(), nullable=False),
        sa.Column("access_key", sa.String(255), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name="fk_storage_providers_team_id"),
        sa.PrimaryKeyConstraint("id", name="pk_storage_providers"),
        sa.UniqueConstraint("team_id", "name", name="uq_storage_providers_team_id_name"),
    )


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("storage_providers")
