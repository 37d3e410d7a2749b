"""What each table of metering is computed by: pure functions. Not here: Dagster, files."""
