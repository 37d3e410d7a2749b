"""What others read: the health page, the feature store, training sets. Not here: how a table is computed or judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_platform.features.store.client import FeatureStore

__all__ = ["FeatureStore"]


def __getattr__(name: str) -> Any:
    """Who imports the health page does not import the feature store, and the other way round."""
    if name == "FeatureStore":
        from data_platform.features.store.client import FeatureStore

        return FeatureStore
    raise AttributeError(f"module {__name__} has no attribute {name!r}")
