"""Dagster's own storage and what it remembers; the only place that imports Dagster's private modules."""
