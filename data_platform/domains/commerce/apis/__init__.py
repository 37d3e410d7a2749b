"""APIs that commerce reads: their lists, and how each is read. Not here: how an API is asked (sources/rest)."""
