"""What the research tables compute: pure functions, frame in, frame out. Not here: Dagster, IO, contracts."""
