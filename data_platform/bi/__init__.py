"""Chosen tables of the lake, published to PostgreSQL for BI tools: `data-platform publish`.
A contract's `published` says which and with what indexes. Not here: features online (features/online)."""
