"""Change data capture of PostgreSQL: a snapshot of each chosen table, then every committed change, as segments of
change lines. Not here: what becomes of the lines (landing), publishing tables to PostgreSQL (bi)."""
