"""The graph of research, walked and exported. Not here: its tables (contracts/graph), what makes them (transforms)."""
