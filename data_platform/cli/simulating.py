"""The command that plays a pretend game against a collector. Not here: what happens in the game (simulation)."""

from __future__ import annotations

import threading
from typing import Annotated

import typer
from rich.text import Text

from data_platform.core.errors import PlatformError, counted
from data_platform.core.settings import settings
from data_platform.core.terminal import busy, out

WAIT_SECONDS = 60.0
"""A collector that is started at the same time needs some of them."""


def simulate_live(
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the collector.")] = "http://127.0.0.1:3003",
    rate: Annotated[float, typer.Option(min=0.1, max=5000, help="Events a second.")] = 20.0,
    players: Annotated[
        int | None, typer.Option(min=1, help="Players; by default those of the simulation in landing, or 500.")
    ] = None,
    events: Annotated[int | None, typer.Option(min=1, help="End after so many; by default with Ctrl-C.")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="COLLECTOR_TOKEN", metavar="TOKEN", help="What the collector asks for.")
    ] = None,
) -> None:
    """Play a pretend game now: its events are sent to a collector as they happen, through the SDK."""
    from data_platform.sdk import Client
    from data_platform.simulation.live import known_scenario, play, wait_for
    from data_platform.simulation.scenario import Scenario

    known = known_scenario(settings().landing)
    scenario = known if known and players is None else Scenario(players or 500, 1, 1, "2024-01-01", False)
    stop = threading.Event()
    with busy(f"waiting for the collector at {url}"):
        answers = wait_for(url, WAIT_SECONDS)
    if not answers:
        raise PlatformError(f"No collector answers at {url}.", "Start one: `data-platform serve collector`.")
    client = Client(url, token, flush_seconds=0.5)
    out.print(Text(f"{counted(scenario.players, 'player')}, {rate:g} events a second → {url}. Ctrl-C ends the game."))
    try:
        play(client, scenario, rate, stop, most_events=events)
    except KeyboardInterrupt:
        stop.set()
    client.close()
    stats = client.stats()
    counts = {"sent": stats.sent, "rejected": stats.rejected, "dropped": stats.dropped, "not sent": stats.waiting}
    became = ", ".join(f"{events:,} {what}" for what, events in counts.items() if events or what == "sent")
    out.print(f"{counted(stats.tracked, 'event')}: {became}")
