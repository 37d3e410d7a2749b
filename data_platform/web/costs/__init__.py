"""The page of costs: what is spent now and this month, for operators and, each for itself, for tenants."""
