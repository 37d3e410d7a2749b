"""Schemas, and the record of what was published: one row per partition.

In one transaction with the partition itself, so that the record cannot say more or less than what readers see.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS analytics")
    op.create_table(
        "published_parts",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("part", sa.Text, primary_key=True, comment="Month, for example 2026-11; `all` without days."),
        sa.Column("partition_name", sa.Text, nullable=False, comment="Table of this schema that holds the rows."),
        sa.Column("digest", sa.Text, nullable=False, comment="Of the lake's files the rows were read from."),
        sa.Column("columns", sa.ARRAY(sa.Text), nullable=False, comment="Columns that were loaded."),
        sa.Column("lake_version", sa.BigInteger, nullable=False, comment="Delta version it was read at."),
        sa.Column("row_count", sa.BigInteger, nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema="analytics_internal",
    )
    op.create_table(
        "summaries",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("definition", sa.Text, nullable=False, comment="Digest of the query."),
        sa.Column("digest", sa.Text, nullable=False, comment="Of the parts it was computed from."),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema="analytics_internal",
    )
