"""The readers' role: it may read what is in `analytics`, now and later, and nothing else.

A role belongs to the whole server and may be made beforehand, by somebody who is allowed to.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'analytics_reader') THEN"
        " CREATE ROLE analytics_reader NOLOGIN; END IF; END $$"
    )
    op.execute("GRANT USAGE ON SCHEMA analytics TO analytics_reader")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO analytics_reader")
    op.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA analytics GRANT SELECT ON TABLES TO analytics_reader")
