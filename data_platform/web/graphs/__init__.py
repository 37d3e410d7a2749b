"""Pictures of the graphs that domains declare as `graph_views`, drawn by the server."""
