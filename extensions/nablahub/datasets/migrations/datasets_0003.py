"""Tags, drafts that are built file by file, where versions came from, and what is in the bin."""

import sqlalchemy as sa
from alembic import op

revision = "datasets_0003"
down_revision = "datasets_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and columns."""
    op.create_table(
        "dataset_tags",
        sa.Column("dataset_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("version_id", sa.String(40), nullable=False),
        sa.Column("set_by", sa.String(255), nullable=False),
        sa.Column("set_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_dataset_tags_dataset_id"),
        sa.PrimaryKeyConstraint("dataset_id", "name", name="pk_dataset_tags"),
    )
    op.create_index("ix_dataset_tags_version_id", "dataset_tags", ["version_id"])
    op.create_table(
        "dataset_changes",
        sa.Column("upload_id", sa.String(40), nullable=False),
        sa.Column("path", sa.String(2048), nullable=False),
        sa.Column("kind", sa.String(1), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("md5", sa.String(32), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("upload_id", "path", name="pk_dataset_changes"),
    )
    op.create_table(
        "dataset_inputs",
        sa.Column("version_id", sa.String(40), nullable=False),
        sa.Column("input_id", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("version_id", "input_id", name="pk_dataset_inputs"),
    )
    op.create_index("ix_dataset_inputs_input_id", "dataset_inputs", ["input_id"])
    with op.batch_alter_table("dataset_uploads") as batch:
        batch.add_column(sa.Column("base", sa.String(40), nullable=True))
        batch.add_column(sa.Column("inputs", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("dataset_versions") as batch:
        batch.add_column(sa.Column("parent", sa.String(40), nullable=True))
        batch.add_column(sa.Column("deleted_at", sa.String(32), nullable=True))
        batch.add_column(sa.Column("purge_at", sa.String(32), nullable=True))
        batch.add_column(sa.Column("purged_at", sa.String(32), nullable=True))
    op.create_index("ix_dataset_versions_parent", "dataset_versions", ["parent"])
    with op.batch_alter_table("datasets") as batch:
        batch.add_column(
            sa.Column("public", sa.Boolean(), nullable=False, server_default=sa.false())
        )


def downgrade() -> None:
    """Remove them."""
    op.drop_index("ix_dataset_versions_parent", "dataset_versions")
    for table, columns in (
        ("datasets", ("public",)),
        ("dataset_versions", ("purged_at", "purge_at", "deleted_at", "parent")),
        ("dataset_uploads", ("inputs", "base")),
    ):
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column)
    for table in ("dataset_inputs", "dataset_changes", "dataset_tags"):
        op.drop_table(table)
