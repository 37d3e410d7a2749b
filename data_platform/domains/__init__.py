"""One folder per domain: its contracts, transforms, assets, sources, schedules. Not here: what two domains share."""
