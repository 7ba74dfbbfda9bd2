"""Storage providers of datasets, objects on their way into an S3, damaged ones."""

import sqlalchemy as sa
from alembic import op

revision = "datasets_0002"
down_revision = "datasets_0001"
branch_labels = None
depends_on = ("storage_0001",)


def upgrade() -> None:
    """Add columns to two tables, and two tables."""
    op.add_column("datasets", sa.Column("provider_id", sa.String(32), nullable=True))
    op.create_index("ix_datasets_provider_id", "datasets", ["provider_id"])
    op.add_column(
        "dataset_garbage",
        sa.Column("doomed", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column(
        "dataset_garbage", sa.Column("multipart", sa.Text(), nullable=False, server_default="")
    )
    op.create_table(
        "dataset_transfers",
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("upload_id", sa.String(40), nullable=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("multipart", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("part_size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "key", name="pk_dataset_transfers"),
    )
    op.create_index("ix_dataset_transfers_upload_id", "dataset_transfers", ["upload_id"])
    op.create_table(
        "dataset_damage",
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("dataset_id", sa.String(32), nullable=False),
        sa.Column("md5", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "dataset_id", "md5", name="pk_dataset_damage"),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("dataset_damage")
    op.drop_table("dataset_transfers")
    op.drop_column("dataset_garbage", "multipart")
    op.drop_column("dataset_garbage", "doomed")
    op.drop_index("ix_datasets_provider_id", "datasets")
    op.drop_column("datasets", "provider_id")
