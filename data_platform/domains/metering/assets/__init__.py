"""How the metering tables hang together: a module for usage, for prices and costs, and for what is made of them.
Not here: what a table is (contracts) or what it computes (transforms)."""
