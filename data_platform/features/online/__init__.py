"""The newest feature vectors, looked up by player in microseconds. Not here: history (store), HTTP (api)."""
