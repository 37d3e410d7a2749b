"""The store of record: Delta tables, their files, commits, history and damage. Not here: what rows must be, Dagster."""
