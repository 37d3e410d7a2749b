"""How the research tables hang together: a module for what is received and said, others for what is made of it.
Not here: what a table is (contracts) or what it computes (transforms)."""
