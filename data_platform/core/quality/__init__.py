"""What judges a day: rules, profiles, anomalies, and the ledger of verdicts. Not here: Dagster (orchestration)."""
