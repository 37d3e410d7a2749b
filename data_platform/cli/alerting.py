"""Commands about alerts: list, mute, unmute, test. Not here: when something is an alert (alerts)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as Grid
from rich.text import Text

from data_platform.core.contract.calendar import minute_text
from data_platform.core.errors import PlatformError, counted, did_you_mean
from data_platform.core.settings import settings
from data_platform.core.terminal import AsJson, busy, cell, out, print_json

if TYPE_CHECKING:
    from data_platform.observability.alerts.episodes import Episode
    from data_platform.observability.alerts.store import AlertStore

app = typer.Typer(no_args_is_help=True, help="What is wrong, and who is told: list, mute, unmute, test.")

STYLES = {"critical": "red", "warning": "yellow", "info": "dim"}
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
LONGEST_MUTE = dt.timedelta(days=90)
Pattern = Annotated[
    str, typer.Argument(metavar="KEY", help="Key of the alert, `*` for anything: 'check:clean/player_events:*'.")
]


def _store() -> AlertStore:
    from data_platform.observability.alerts.store import AlertStore

    return AlertStore(settings().home)


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Closed ones of the last 30 days too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Open problems, the worst first, as the sensor saw them at its last look."""
    from data_platform.observability.alerts.delivery import read_routes

    now = dt.datetime.now(dt.UTC)
    store = _store()
    state = store.state()
    mutes = [mute for mute in state.mutes if mute.until > now]
    found = [episode for episode in state.episodes.values() if every or episode.closed_at is None]
    found.sort(key=lambda e: (e.closed_at is not None, -e.problem.level, e.problem.since, e.problem.key))
    muted = {e.problem.key for e in found if any(mute.covers(e.problem.key, now) for mute in mutes)}
    waiting = store.waiting()
    if as_json:
        print_json(
            {
                "episodes": [_as_json(e) | {"muted": e.problem.key in muted} for e in found],
                "mutes": [{"pattern": mute.pattern, "until": mute.until} for mute in mutes],
                "unsent_messages": sum(waiting.values()),
            }
        )
        return
    if found:
        _show(found, muted)
    else:
        looked = state.episodes or mutes
        out.print("Nothing is open." if looked else "Nothing is open; the sensor may not have looked yet.")
    for mute in mutes:
        out.print(Text(f"muted until {minute_text(mute.until)}: {mute.pattern}", "dim"))
    routes = read_routes(settings().alerts) if waiting else []
    known = {c.id: f"{r.name} ({c.shown})" for r in routes for c in r.channels}
    for channel, count in waiting.items():
        whom = known.get(channel, "a channel that is configured no more")
        waits = "waits" if count == 1 else "wait"
        out.print(Text(f"{counted(count, 'message')} {waits} for {whom}", "yellow"))


def _as_json(episode: Episode) -> dict[str, Any]:
    problem = episode.problem
    return {
        "key": problem.key,
        "level": str(problem.level),
        "title": problem.title,
        "what": problem.what,
        "asset": problem.asset,
        "owner": problem.owner,
        "since": problem.since,
        "last_seen": episode.last_seen,
        "closed_at": episode.closed_at,
        "told_at": episode.notified_at,
        "failed_rows": problem.failed_rows,
        "sample": problem.sample,
    }


def _show(episodes: Sequence[Episode], muted: Collection[str]) -> None:
    grid = Grid("level", "since", "what", "owner", "key", box=None, pad_edge=False)
    for episode in episodes:
        problem, level = episode.problem, str(episode.problem.level)
        shown = Text(level + (" (muted)" if problem.key in muted else ""), STYLES[level])
        grid.add_row(
            Text("closed", "green") if episode.closed_at else shown,
            f"{problem.since:%m-%d %H:%M}",
            cell(problem.title),
            problem.owner.removeprefix("team:"),
            Text(problem.key),
        )
    out.print(grid)


@app.command()
def mute(
    pattern: Pattern,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 30m, 2h, 3d.")],
) -> None:
    """Say nothing of some problems for a while; what is still wrong then is told once."""
    until = dt.datetime.now(dt.UTC) + _span(lasting)
    _store().mute(pattern, until)
    out.print(Text(f"{pattern} is muted until {minute_text(until)}"))


@app.command()
def unmute(pattern: Pattern) -> None:
    """End a mute early."""
    if not _store().unmute(pattern):
        meant = did_you_mean(pattern, (mute.pattern for mute in _store().state().mutes))
        raise PlatformError(f"Nothing is muted by {pattern!r}.", f"{meant}`data-platform alerts list` shows all mutes.")
    out.print(Text(f"{pattern} is no longer muted"))


@app.command("test")
def try_routes(as_json: AsJson = False) -> None:
    """Send a test message through every route, and say which worked."""
    from data_platform.observability.alerts.delivery import read_routes, send
    from data_platform.observability.alerts.messages import of_test

    routes = read_routes(settings().alerts)
    if not routes:
        raise PlatformError("No alert routes are configured, so alerts go to the log.", "Set DATA_PLATFORM_ALERTS.")
    message = {route.name: of_test(route.name, dt.datetime.now(dt.UTC)) for route in routes}
    with busy("sending") as say:
        results = []
        for route in routes:
            for channel in route.channels:
                say(f"sending to {route.name} ({channel.shown})")
                results.append((route, channel, send(channel, message[route.name])))
    if as_json:
        print_json([{"route": r.name, "channel": c.shown, "worked": worked} for r, c, worked in results])
    else:
        for route, channel, worked in results:
            mark = Text("✓ ", "green") if worked else Text("✗ ", "red")
            out.print(mark + Text(f"{route.name}: {channel.shown} ({route.owner}, {route.at_least} and worse)"))
    failed = [f"{route.name} ({channel.shown})" for route, channel, worked in results if not worked]
    if failed:
        raise PlatformError(
            f"{len(failed)} of {counted(len(results), 'channel')} did not take the message: {', '.join(failed)}.",
            "Compare their URLs with what the service gave you, and try them from this machine.",
        )


def _span(text: str) -> dt.timedelta:
    found = re.fullmatch(r"(\d{1,4})([mhd])", text.strip())
    span = dt.timedelta(**{UNITS[found[2]]: int(found[1])}) if found else dt.timedelta(0)
    if not dt.timedelta(0) < span <= LONGEST_MUTE:
        raise PlatformError(f"{text!r} is no time to mute for.", "Write 30m, 2h or 3d, at most 90d.")
    return span
