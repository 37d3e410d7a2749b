"""What learning computes: pure functions, without Dagster and IO."""
