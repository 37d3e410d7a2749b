"""Alembic migrations of what does not follow from a contract: schemas, the readers' role, the record of publications.
Not here: published tables, whose migrations follow from their contracts (schema). Steps must not lock readers out:
expand, backfill and contract in revisions of their own, nothing that rewrites a table readers see."""
