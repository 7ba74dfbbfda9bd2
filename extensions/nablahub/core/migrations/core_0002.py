"""Which revisions were applied; who leads; what others ask the leader to look at."""

import sqlalchemy as sa
from alembic import op

revision = "core_0002"
down_revision = "core_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "schema_history",
        sa.Column("revision", sa.String(64), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_schema_history"),
    )
    op.create_table(
        "leader",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("address", sa.String(255), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_leader"),
    )
    op.create_table(
        "wakes",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("item", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_wakes"),
    )
    if op.get_bind().dialect.name == "postgresql":
        # SQLite's integers have 64 bits whatever they are called.
        for table in ("events", "wakes"):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN seq TYPE BIGINT")
            op.execute(f"ALTER SEQUENCE {table}_seq_seq AS BIGINT")


def downgrade() -> None:
    """Remove the tables."""
    for table in ("wakes", "leader", "schema_history"):
        op.drop_table(table)
