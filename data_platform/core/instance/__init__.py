"""Dagster's own storage and what it remembers. Dagster's private modules are imported here, and else only for one type
by `orchestration/checks` and to copy one record by `orchestration/automation_runs`."""
