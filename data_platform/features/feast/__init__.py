"""A Feast repository of the lake's feature sets, for teams that work with Feast. Feast itself need not be installed.
Not here: what a feature set is (catalogue), our own point-in-time join (store)."""
