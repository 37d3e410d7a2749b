"""What every API of ours has in common: answers, tokens, requests read with bounds. Not here: any API, the server."""
