"""dbt models on the Delta lake: what they read, where results go, how they become assets. Not here: any model."""
