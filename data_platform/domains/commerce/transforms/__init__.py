"""What commerce computes in Polars: pure functions, without Dagster and IO. Its SQL is in dbt/models."""
