"""From contract to Dagster: assets, checks, partitions, automation. Not here: where Dagster keeps them (instance)."""
