"""Datasets, their versions, and what is known of their objects."""

import sqlalchemy as sa
from alembic import op

revision = "datasets_0001"
down_revision = None
branch_labels = ("datasets",)
depends_on = ("projects_0001",)


def _dataset() -> sa.Column[str]:
    return sa.Column("dataset_id", sa.String(32), nullable=False)


def _foreign(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=f"fk_{table}_dataset_id")


def _make_datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("project_id", sa.String(32), nullable=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("latest", sa.String(40), nullable=True),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name="fk_datasets_team_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_datasets_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.UniqueConstraint("team_id", "name", name="uq_datasets_team_id_name"),
    )
    op.create_index("ix_datasets_project_id", "datasets", ["project_id"])


def _make_versions() -> None:
    op.create_table(
        "dataset_versions",
        sa.Column("id", sa.String(40), nullable=False),
        _dataset(),
        sa.Column("version", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(255), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("source", sa.String(255), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("dvc_md5", sa.String(32), nullable=False),
        sa.Column("dvc_size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        _foreign("dataset_versions"),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_versions"),
        sa.UniqueConstraint("key", name="uq_dataset_versions_key"),
        sa.UniqueConstraint("dataset_id", "number", name="uq_dataset_versions_dataset_id_number"),
    )
    op.create_index(
        "ix_dataset_versions_dataset_id_created_at", "dataset_versions",
        ["dataset_id", "created_at"],
    )  # fmt: skip
    op.create_index("ix_dataset_versions_dvc_md5", "dataset_versions", ["dvc_md5"])
    op.create_table(
        "dataset_uploads",
        sa.Column("id", sa.String(40), nullable=False),
        _dataset(),
        sa.Column("version", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("source", sa.String(255), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("touched_at", sa.String(32), nullable=False),
        _foreign("dataset_uploads"),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_uploads"),
    )
    op.create_index("ix_dataset_uploads_dataset_id", "dataset_uploads", ["dataset_id"])


def _make_objects() -> None:
    op.create_table(
        "dataset_packs",
        _dataset(),
        sa.Column("pack", sa.String(64), nullable=False),
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("upload_id", sa.String(40), nullable=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        _foreign("dataset_packs"),
        sa.PrimaryKeyConstraint("dataset_id", "pack", name="pk_dataset_packs"),
    )
    op.create_index("ix_dataset_packs_team_id_size", "dataset_packs", ["team_id", "size"])
    op.create_index("ix_dataset_packs_upload_id", "dataset_packs", ["upload_id"])
    op.create_table(
        "dataset_objects",
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("md5", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "md5", name="pk_dataset_objects"),
    )
    op.create_index("ix_dataset_objects_team_id_size", "dataset_objects", ["team_id", "size"])
    op.create_table(
        "dataset_links",
        _dataset(),
        sa.Column("md5", sa.String(32), nullable=False),
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("upload_id", sa.String(40), nullable=True),
        _foreign("dataset_links"),
        sa.PrimaryKeyConstraint("dataset_id", "md5", name="pk_dataset_links"),
    )
    op.create_index("ix_dataset_links_team_id_md5", "dataset_links", ["team_id", "md5"])
    op.create_index("ix_dataset_links_upload_id", "dataset_links", ["upload_id"])
    op.create_table(
        "dataset_garbage",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_garbage"),
    )
    op.create_index("ix_dataset_garbage_team_id", "dataset_garbage", ["team_id"])


def upgrade() -> None:
    """Make the tables."""
    _make_datasets()
    _make_versions()
    _make_objects()


def downgrade() -> None:
    """Remove the tables."""
    for table in (
        "dataset_garbage", "dataset_links", "dataset_objects", "dataset_packs",
        "dataset_uploads", "dataset_versions", "datasets",
    ):  # fmt: skip
        op.drop_table(table)
