"""Price lists of others as lines for `landing/model_prices`: one module per kind of list.
Not here: what becomes of the lines (transforms/price_changes)."""
