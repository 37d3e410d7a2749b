"""What a table promises: the vocabulary of contracts, days, lineage. Not here: any table, files, Dagster."""
