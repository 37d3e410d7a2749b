"""The page of costs: its addresses, how amounts read, who sees what. A page is whole as the server sends it; a browser
with JavaScript then gets the parts that change over a WebSocket, one without reloads.
Not here: what was spent (spending), following calls (today), who may come in (app)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import threading
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from data_platform.core.contract.panels import Chart
from data_platform.core.http.problems import Problem
from data_platform.core.http.tenants import Reach
from data_platform.core.lake.store import Lake
from data_platform.observability.health.markup import shown
from data_platform.observability.health.words import number
from data_platform.sources.live_spend import LiveSpend
from data_platform.web.costs.spending import Spending, Spent
from data_platform.web.costs.today import Today
from data_platform.web.dashboards.drawing import draw, ticks
from data_platform.web.dashboards.series import Picture, Series
from data_platform.web.query.tables import TenantTables

log = logging.getLogger(__name__)
PREFIX = "/costs"
REACH = "data_platform.reach"
"""Where the guard leaves in the scope whose rows may be seen; without it nothing is."""
LOOK_SECONDS = 0.1
TELL_SECONDS = 0.3
"""Between two looks of a viewer at whether anything is new."""
QUIET_SECONDS = 2.0
"""A viewer is told this often at least: the page takes silence for a lost connection."""
AGAIN_SECONDS = 5.0
RELOAD_SECONDS = 5
MOST_VIEWERS = 50
TRY_AGAIN_LATER = 1013


class CostPages:
    """The page, and the thread that follows the calls."""

    def __init__(self, spend: LiveSpend, landing: Path, lake: Lake) -> None:
        self._spend = spend
        tables = TenantTables(lake)
        self.today = Today(spend, landing, tables)
        self._spending = Spending(spend, self.today, tables)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._viewers = 0
        self._templates = Environment(
            loader=PackageLoader("data_platform.web.costs"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"shown": shown, "number": number, "money": money}

    def start(self) -> None:
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="costs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread:
            self._thread.join(10)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                while not self._stopped.wait(0 if self.today.waiting else LOOK_SECONDS):
                    self.today.step(dt.datetime.now(dt.UTC))
            except Exception:  # the lake is away, a disk is full: what was held stays, and all goes on later
                log.exception("today's costs are not followed just now")
                self._stopped.wait(AGAIN_SECONDS)

    def routes(self) -> list[BaseRoute]:
        return [
            Mount(f"/static{PREFIX}", StaticFiles(packages=[("data_platform.web.costs", "static")])),
            # Its script and most of its looks are those of the live pages.
            Mount("/static/live", StaticFiles(packages=[("data_platform.web.live", "static")])),
            Route(PREFIX, self.page),
            WebSocketRoute(f"{PREFIX}/socket", self.socket),
        ]

    async def page(self, request: Request) -> Response:
        try:
            reach = _reach(request)
        except Problem as problem:
            return PlainTextResponse(f"{problem}\n", problem.status)
        parts = await run_in_threadpool(self.parts, reach)
        asked = {name: request.query_params[name] for name in ("token", "tenant") if request.query_params.get(name)}

        def link(path: str) -> str:
            token = {"token": asked["token"]} if "token" in asked else {}
            query = urlencode(asked if path.startswith(PREFIX) else token)
            return quote(path) + (f"?{query}" if query else "")

        operator = request.scope[REACH].tenant is None
        page = self._templates.get_template("costs.html").render(
            parts=parts, link=link, reload=RELOAD_SECONDS, operator=operator, tenant=reach.tenant
        )
        return HTMLResponse(page.encode("utf-8", "replace"))

    async def socket(self, socket: WebSocket) -> None:
        try:
            reach = _reach(socket)
        except Problem:
            await socket.close()
            return
        await socket.accept()
        if self._viewers >= MOST_VIEWERS:
            await socket.close(TRY_AGAIN_LATER)
            return
        self._viewers += 1
        telling = asyncio.create_task(self._tell(socket, reach))
        try:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                while True:  # viewers have nothing to say; this is how their going is noticed
                    await socket.receive_text()
        finally:
            telling.cancel()
            self._viewers -= 1

    async def _tell(self, socket: WebSocket, reach: Reach) -> None:
        loop, told, generation = asyncio.get_running_loop(), 0.0, -1
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                if self.today.generation != generation or loop.time() - told > QUIET_SECONDS:
                    generation, told = self.today.generation, loop.time()
                    await socket.send_text(await run_in_threadpool(self.parts, reach))
                await asyncio.sleep(TELL_SECONDS)

    def parts(self, reach: Reach) -> str:
        """What changes of the page, as HTML, of the rows that may be seen."""
        now = dt.datetime.now(dt.UTC)
        spent = self._spending.of(reach, now)
        newest = self.today.newest
        text: str = self._templates.get_template("parts.html").render(
            spent=spent,
            plot=plot(spent),
            now=now,
            newest=dt.datetime.fromtimestamp(newest, dt.UTC) if newest is not None else None,
            waiting=self.today.waiting,
            headings={self._spend.query.tenant: "Tenants", "model": "Models", "feature": "Features"},
        )
        return text.encode("utf-8", "replace").decode()


def _reach(connection: HTTPConnection) -> Reach:
    """Whose rows are shown: those of the token, or of them those of the tenant in ?tenant=. Raises Problem 403."""
    allowed: Reach = connection.scope[REACH]
    asked = connection.query_params.get("tenant")
    if not asked:
        return allowed
    allowed.require((asked,))
    return Reach(asked)


def money(amount: Decimal, currency: str = "") -> str:
    """To the cent; of less than a unit four digits that say something."""
    digits = 2 if not amount or abs(amount) >= 1 else 3 - amount.adjusted()
    text = f"{amount:,.{digits}f}"
    return f"{text} {currency}".rstrip()


def plot(spent: Spent) -> Markup | None:
    """Bars of the days, the last of which is today."""
    if not any(spent.daily):
        return None
    total = [value for value in spent.daily if value is not None]
    picture = Picture(None, spent.days, 1, [Series(spent.currency, spent.daily, sum(total), None)])

    def tell(at: int) -> str:
        return f"{spent.days[at]:%a %Y-%m-%d}: {money(Decimal(str(spent.daily[at] or 0)), spent.currency)}"

    label = f"Spend by day, {spent.days[0]} to {spent.days[-1]}, {spent.currency}"
    described = f"{money(Decimal(str(sum(total))), spent.currency)} in all"
    svg = draw(Chart.BARS, picture, label, described, "spend", tell)
    scale: Sequence[Any] = [f"{value:,.4g}" for value in reversed(ticks(Chart.BARS, picture))]
    spans = Markup("").join(Markup("<span>{}</span>").format(value) for value in scale)
    row = Markup('<div class="chart-row"><div class="scale" aria-hidden="true">{}</div>{}</div>').format(spans, svg)
    dates = [spent.days[at] for at in (0, len(spent.days) // 2, len(spent.days) - 1)]
    below = Markup("").join(Markup("<span>{}</span>").format(f"{day.day} {day:%b}") for day in dates)
    return row + Markup('<div class="dates" aria-hidden="true">{}</div>').format(below)
