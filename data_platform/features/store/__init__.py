"""Features for models: what there is, what it was at any moment, what it is now. Import it from data_platform.features.
Not here: how features are computed, the online store's files (online), HTTP (api)."""
