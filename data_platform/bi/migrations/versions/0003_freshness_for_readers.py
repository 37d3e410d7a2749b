"""`analytics.publications`: how far and how fresh each table is, for whoever looks at a dashboard.

A view reads with its owner's rights, so readers need none on the record itself.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        "CREATE VIEW analytics.publications AS"
        " SELECT table_name, min(part) AS first_part, max(part) AS last_part, sum(row_count)::bigint AS row_count,"
        " max(published_at) AS published_at FROM analytics_internal.published_parts GROUP BY table_name"
    )
    op.execute("COMMENT ON VIEW analytics.publications IS 'Published tables: months, rows, when they last changed.'")
