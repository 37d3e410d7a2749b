"""Who is told what is wrong, once per failure. Not here: how it is found out that a table is bad (core, quality)."""
