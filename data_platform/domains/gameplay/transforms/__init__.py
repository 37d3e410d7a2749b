"""What the gameplay tables compute: pure functions, LazyFrame in, LazyFrame out. Not here: Dagster, IO, contracts."""
