"""Trust in tables: freshness, profiles, daily reports, service levels. Not here: the rules of a table (contracts)."""
