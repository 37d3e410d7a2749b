"""Search over texts of research, by meaning and by words. Not here: the texts' table (contracts), its step (assets)."""
