"""The live pages: their addresses, and how a feed's message reads. A page is whole as the server sends it; a browser
with JavaScript then gets the parts that change over a WebSocket, one without reloads.
Belongs here: routes and words. Not here: counting (feed), threads and connections (watching), who may read (app)."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from data_platform.core.lake.store import Lake
from data_platform.observability.health.text import LONGEST_TITLE, visible_start
from data_platform.observability.health.words import number
from data_platform.sources.live_view import LiveView
from data_platform.web.live.feed import Feed
from data_platform.web.watched_pages import page, rendered, templates
from data_platform.web.watching import Watch, Watched

PREFIX = "/live"
EVERYBODY = None
"""All viewers of a live page see the same."""


class LivePages:
    """All live pages, and what feeds them."""

    def __init__(self, views: Sequence[LiveView], landing: Path, lake: Lake) -> None:
        self._templates = templates("data_platform.web.live")
        self._templates.filters |= {"late": late, "clock": clock, "steps": steps}
        self._templates.filters["seen"] = lambda value: visible_start(value, LONGEST_TITLE)
        channels = [_Channel(Feed(view, landing, lake), self._templates) for view in views]
        self._channels = {channel.name: channel for channel in channels}
        self._watches = {channel.name: Watch(channel) for channel in channels}
        self._beside: Mapping[str, str] = {}

    def start(self) -> None:
        """Begin to watch; in the server's event loop."""
        for watch in self._watches.values():
            watch.start()

    def stop(self) -> None:
        for watch in self._watches.values():
            watch.stop()

    def routes(self, beside: Mapping[str, str] | None = None) -> list[BaseRoute]:
        """`beside`: addresses of other pages of this server, with what they are called."""
        self._beside = beside or {}
        return [
            Route(PREFIX, self.page),
            Route(f"{PREFIX}/{{name}}", self.page),
            Route(f"{PREFIX}/{{name}}/message.json", self.message),
            WebSocketRoute(f"{PREFIX}/{{name}}/socket", self.socket),
        ]

    def page(self, request: Request) -> Response:
        name = request.path_params.get("name", next(iter(self._channels), ""))
        channel = self._channels.get(name)
        if channel is None:
            return HTMLResponse("There is no such live page.\n", 404)
        return page(
            self._templates,
            "live.html",
            request.query_params,
            self._beside,
            name=name,
            names=list(self._channels),
            compared=channel.feed.view.compared,
            parts=channel.newest,
        )

    def message(self, request: Request) -> Response:
        """The numbers of the page, for programs."""
        channel = self._channels.get(request.path_params["name"])
        return JSONResponse(channel.message if channel else {}, 200 if channel else 404)

    async def socket(self, socket: WebSocket) -> None:
        name = socket.path_params["name"]
        if name not in self._channels:
            await socket.close()
            return
        await self._watches[name].viewers.watch(socket, EVERYBODY, self._channels[name].newest)


class _Channel(Watched[None]):
    """One feed, and what was last said of it."""

    def __init__(self, feed: Feed, found: Environment) -> None:
        self.name = feed.view.source.name
        self.feed = feed
        self.message: dict[str, Any] = {}
        self.newest = ""
        self._templates = found

    def __enter__(self) -> Feed:
        return self.feed.__enter__()

    def __exit__(self, *fault: object) -> None:
        self.feed.__exit__(*fault)

    @property
    def waiting(self) -> int:
        return self.feed.waiting

    def step(self) -> bool:
        return self.feed.step()

    def messages(self, keys: Collection[None]) -> Iterable[tuple[None, str]]:
        """Also where nobody watches: the page is sent as it was last said."""
        self.message = self.feed.message()
        self.newest = rendered(self._templates, "parts.html", m=self.message)
        return [(key, self.newest) for key in keys]


def steps(told: Sequence[tuple[int, float, int]]) -> list[tuple[int, str, list[str]]]:
    """Rows of the chart, newest first: second, its time of day, events per second, active players."""
    return [
        (second, time.strftime("%H:%M:%S", time.gmtime(second)), [number(rate), number(active)])
        for second, rate, active in reversed(told)
    ]


def late(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min`, `5 h`."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"


def clock(moment: str | None) -> str:
    """The time of day of a moment in ISO, with its day where that is not today."""
    if moment is None:
        return "–"
    day, time_of_day = moment.removesuffix("Z").split("T")
    return time_of_day if day == time.strftime("%Y-%m-%d", time.gmtime()) else f"{day} {time_of_day}"
