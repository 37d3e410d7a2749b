"""For game servers: `Client(url, token).track(event_type, player_id, ...)` sends events to the platform's collector.
The standard library alone; nothing else of the platform is imported, nor needs to be installed."""

from data_platform.sdk.client import Client, Stats

__all__ = ["Client", "Stats"]
