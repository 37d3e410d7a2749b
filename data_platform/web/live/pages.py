"""The live pages: their addresses, and how a feed's message reads. A page is whole as the server sends it; a browser
with JavaScript then gets the parts that change over a WebSocket, one without reloads.
Belongs here: routes and words. Not here: counting (feed), connections (viewers), who may read (app)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from data_platform.core.lake.store import Lake
from data_platform.observability.health.charts import bar_chart
from data_platform.observability.health.markup import shown
from data_platform.observability.health.text import LONGEST_TITLE, visible_start
from data_platform.observability.health.words import number
from data_platform.sources.live_view import LiveView
from data_platform.web.live.feed import Feed
from data_platform.web.live.viewers import Viewers

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.1
"""From one look at landing to the next; longer where a look takes longer, so that it never takes more than a half."""
TELL_SECONDS = 0.15
"""At least between two messages while events arrive: every second look. At 0.2, of looks that begin a little early or
late, it was now the second and now the third."""
QUIET_SECONDS = 1.0
"""Between two messages while nothing arrives: the clock goes on."""
AGAIN_SECONDS = 5.0
RELOAD_SECONDS = 5
PREFIX = "/live"


class LivePages:
    """All live pages, and the threads that feed them."""

    def __init__(self, views: Sequence[LiveView], landing: Path, lake: Lake) -> None:
        self._channels = {view.source.name: _Channel(Feed(view, landing, lake)) for view in views}
        self._templates = Environment(
            loader=PackageLoader("data_platform.web.live"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"shown": shown, "number": number, "late": late, "clock": clock}
        self._templates.filters["seen"] = lambda value: visible_start(value, LONGEST_TITLE)
        self._templates.globals |= {"plot": plot}

    def start(self) -> None:
        """Begin to watch; in the server's event loop."""
        for channel in self._channels.values():
            channel.start(self.parts)

    def stop(self) -> None:
        for channel in self._channels.values():
            channel.stop()

    def routes(self) -> list[BaseRoute]:
        static = Mount(f"/static{PREFIX}", StaticFiles(packages=[("data_platform.web.live", "static")]))
        return [
            static,
            Route(PREFIX, self.page),
            Route(f"{PREFIX}/{{name}}", self.page),
            Route(f"{PREFIX}/{{name}}/message.json", self.message),
            WebSocketRoute(f"{PREFIX}/{{name}}/socket", self.socket),
        ]

    def page(self, request: Request) -> Response:
        name = request.path_params.get("name", next(iter(self._channels), ""))
        if name not in self._channels:
            return HTMLResponse("There is no such live page.\n", 404)
        token = request.query_params.get("token")

        def link(path: str) -> str:
            return quote(path) + ("?" + urlencode({"token": token}) if token else "")

        channel = self._channels[name]
        page = self._templates.get_template("live.html").render(
            name=name,
            names=list(self._channels),
            compared=channel.compared,
            link=link,
            reload=RELOAD_SECONDS,
            parts=channel.viewers.newest,
        )
        return HTMLResponse(page.encode("utf-8", "replace"))

    def message(self, request: Request) -> Response:
        """The numbers of the page, for programs."""
        channel = self._channels.get(request.path_params["name"])
        return JSONResponse(channel.message if channel else {}, 200 if channel else 404)

    async def socket(self, socket: WebSocket) -> None:
        channel = self._channels.get(socket.path_params["name"])
        if channel is None:
            await socket.close()
            return
        await channel.viewers.watch(socket)

    def parts(self, message: Mapping[str, Any]) -> str:
        """The parts of a page that change, as HTML."""
        text: str = self._templates.get_template("parts.html").render(m=message)
        return text.encode("utf-8", "replace").decode()


class _Channel:
    """One feed in a thread of its own, and its viewers."""

    def __init__(self, feed: Feed) -> None:
        self.viewers = Viewers()
        self.message: dict[str, Any] = {}
        self.compared = feed.view.compared
        self._feed = feed
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, render: Any) -> None:
        self.viewers.begin()
        self._stopped.clear()
        self._render = render
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread:
            self._thread.join(10)

    def _run(self) -> None:
        """A fault (the lake is away, the disk is full) ends nothing: what was counted goes, and all begins anew."""
        while not self._stopped.is_set():
            try:
                with self._feed:
                    self._follow()
            except Exception:
                log.exception("the live view of %s begins anew", self._feed.view.source.name)
                self._stopped.wait(AGAIN_SECONDS)

    def _follow(self) -> None:
        told, new, pause = 0.0, True, 0.0
        while not self._stopped.wait(pause):
            began = time.monotonic()
            new = self._feed.step() or new
            if began - told >= (TELL_SECONDS if new and len(self.viewers) else QUIET_SECONDS):
                self.message = self._feed.message()
                self.viewers.tell(self._render(self.message))
                told, new = began, False
            took = time.monotonic() - began
            pause = 0.0 if self.message.get("waiting") else max(LOOK_SECONDS - took, took)


def plot(values: Sequence[int]) -> Markup:
    """Bars over the last seconds; the label says in words what they show."""
    label = f"Events per second, last {len(values)} seconds: at most {max(values, default=0):,}, now {values[-1]:,}"
    return bar_chart(values, [False] * len(values), label)


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
