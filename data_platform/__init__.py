"""A Dagster data platform for a game company: from raw events to trusted tables and features."""

import os

# Polars gives freed memory back after half a second and asks for it anew page by page, 3 µs each, a million of them in
# a day of a million calls. Set before Polars is imported; who has set it otherwise is heard.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:2000")

__version__ = "0.1.0"
