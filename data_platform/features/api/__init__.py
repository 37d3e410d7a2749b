"""Features over HTTP: one player, many players, history, catalogue. Not here: the health page, the stores."""
