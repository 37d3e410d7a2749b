"""What was served, a sample of it, held against the lake. Not here: serving (online, api)."""
