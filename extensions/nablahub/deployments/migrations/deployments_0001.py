"""Deployments, their specs, servers and keys."""

import sqlalchemy as sa
from alembic import op

revision = "deployments_0001"
down_revision = None
branch_labels = ("deployments",)
depends_on = ("teams_0001", "projects_0001")


def _belongs(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("deployment_id", sa.String(36), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.id"],
            name=f"fk_{table}_deployment_id",
            ondelete="CASCADE",
        ),
    ]


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "deployments",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("project_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("spec_version", sa.Integer(), nullable=False),
        sa.Column("serving_version", sa.Integer(), nullable=True),
        sa.Column("previous_version", sa.Integer(), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("ready_replicas", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name="fk_deployments_team_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_deployments_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
        sa.UniqueConstraint("project_id", "name", name="uq_deployments_project_id_name"),
    )
    op.create_index("ix_deployments_team_id", "deployments", ["team_id"])
    op.create_index("ix_deployments_project_id", "deployments", ["project_id"])
    op.create_table(
        "deployment_specs",
        *_belongs("deployment_specs"),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("model_ref", sa.String(64), nullable=False),
        sa.Column("engine", sa.String(16), nullable=False),
        sa.Column("fingerprint", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("sample", sa.Text(), nullable=True),
        sa.Column("probing_since", sa.String(32), nullable=True),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("deployment_id", "number", name="pk_deployment_specs"),
    )
    op.create_table(
        "deployment_servers",
        *_belongs("deployment_servers"),
        sa.Column("fingerprint", sa.String(16), nullable=False),
        sa.Column("replica", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("since", sa.String(32), nullable=False),
        sa.Column("due", sa.String(32), nullable=True),
        sa.PrimaryKeyConstraint(
            "deployment_id", "fingerprint", "replica", name="pk_deployment_servers"
        ),
    )
    op.create_table(
        "deployment_keys",
        sa.Column("id", sa.String(32), nullable=False),
        *_belongs("deployment_keys"),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_deployment_keys"),
        sa.UniqueConstraint(
            "deployment_id", "request", name="uq_deployment_keys_deployment_id_request"
        ),
    )


def downgrade() -> None:
    """Remove the tables."""
    for table in ("deployment_keys", "deployment_servers", "deployment_specs", "deployments"):
        op.drop_table(table)
