"""The only place that says what the gameplay tables are; grouped by layer."""
