"""Runs the revisions on the connection and in the transaction that `schema.migrate` hands over."""

from __future__ import annotations

from alembic import context

from data_platform.bi.layout import INTERNAL

context.configure(connection=context.config.attributes["connection"], version_table_schema=INTERNAL)
context.run_migrations()
