"""A Dagster data platform for a game company: from raw events to trusted tables and features."""

__version__ = "0.1.0"
