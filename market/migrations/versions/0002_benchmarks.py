"""Measured throughputs of GPUs: who measured what, under which conditions, when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; one row for each GPU and set of conditions."""
    op.create_table(
        "benchmarks",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("gpu", "model", "precision", "engine")),
        sa.Column("batch", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("tokens_per_second", sa.Double(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("source", "recorded_by")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("measured_at", "recorded_at")),
        sa.PrimaryKeyConstraint("gpu", "model", "precision", "engine", "batch", name="pk_benchmarks"),
        sa.CheckConstraint("tokens_per_second > 0", name="ck_benchmarks_tokens_per_second"),
        sa.CheckConstraint("batch > 0", name="ck_benchmarks_batch"),
    )
