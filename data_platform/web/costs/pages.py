"""The page of costs: its addresses, how amounts read, who sees what. A page is whole as the server sends it; a browser
with JavaScript then gets the parts that change over a WebSocket, one without reloads.
Not here: what was spent (spending), following calls (today), who may come in (app)."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from data_platform.core.contract.calendar import midnight
from data_platform.core.http.problems import Problem
from data_platform.core.http.tenants import Reach, whole_tenants_alone
from data_platform.core.lake.store import Lake
from data_platform.sources.live_spend import LiveSpend
from data_platform.web.costs.spending import Spending, Spent
from data_platform.web.costs.today import Today
from data_platform.web.query.tables import TenantTables
from data_platform.web.reach import reach_of
from data_platform.web.watched_pages import page, rendered, templates
from data_platform.web.watching import Watch, Watched

log = logging.getLogger(__name__)
PREFIX = "/costs"


class CostPages(Watched[Reach]):
    """The page, for each who sees other rows than the others."""

    name = "the page of costs"

    def __init__(self, spend: LiveSpend, landing: Path, lake: Lake) -> None:
        self._spend = spend
        tables = TenantTables(lake)
        self.today = Today(spend, landing, tables)
        self._spending = Spending(spend, self.today, tables)
        self._watch = Watch(self)
        self._beside: Mapping[str, str] = {}
        self._templates = templates("data_platform.web.costs")
        self._templates.filters["money"] = money

    def start(self) -> None:
        """Begin to follow the calls; in the server's event loop."""
        self._watch.start()

    def stop(self) -> None:
        self._watch.stop()

    def routes(self, beside: Mapping[str, str] | None = None) -> list[BaseRoute]:
        """`beside`: addresses of other pages of this server, with what they are called."""
        self._beside = beside or {}
        return [Route(PREFIX, self.page), WebSocketRoute(f"{PREFIX}/socket", self.socket)]

    async def page(self, request: Request) -> Response:
        try:
            reach = _reach(request)
        except Problem as problem:
            return PlainTextResponse(f"{problem}\n", problem.status)
        return page(
            self._templates,
            "costs.html",
            request.query_params,
            self._beside,
            parts=await run_in_threadpool(self.parts, reach),
            operator=reach_of(request).tenant is None,
            tenant=reach.tenant,
            chosen={"tenant": reach.tenant} if request.query_params.get("tenant") else {},
        )

    async def socket(self, socket: WebSocket) -> None:
        try:
            reach = _reach(socket)
        except Problem:
            await socket.close()
            return
        await self._watch.viewers.watch(socket, reach, await run_in_threadpool(self.parts, reach))

    @property
    def waiting(self) -> int:
        return self.today.waiting

    def step(self) -> bool:
        return self.today.step(dt.datetime.now(dt.UTC))

    def messages(self, keys: Collection[Reach]) -> Iterator[tuple[Reach, str]]:
        for reach in keys:
            try:
                yield reach, self.parts(reach)
            except Exception:  # what is wrong with one tenant's rows keeps nothing from the others
                log.exception("costs of %s cannot be told just now", reach.tenant or "all tenants")

    def parts(self, reach: Reach) -> str:
        """What changes of the page, as HTML, of the rows that may be seen."""
        now = dt.datetime.now(dt.UTC)
        newest = self.today.newest
        spent = self._spending.of(reach, now)
        return rendered(
            self._templates,
            "parts.html",
            spent=spent,
            days=days(spent),
            now=now,
            newest=dt.datetime.fromtimestamp(newest, dt.UTC) if newest is not None else None,
            waiting=self.today.waiting,
            headings={self._spend.query.tenant: "Tenants", "model": "Models", "feature": "Features"},
        )


def _reach(connection: HTTPConnection) -> Reach:
    """Whose rows are shown: those of the token, or of them those of the tenant in ?tenant=. Raises Problem 403."""
    allowed = reach_of(connection)
    if allowed.projects is not None:
        raise whole_tenants_alone()
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


def days(spent: Spent) -> list[tuple[int, str, list[str]]]:
    """Rows of the chart, newest first: midnight in seconds since 1970, the day, its cost. None if nothing was spent."""
    if not any(spent.daily):
        return []
    told = zip(spent.days, spent.daily, strict=True)
    return [
        (
            int(midnight(day).timestamp()),
            f"{day:%a %Y-%m-%d}",
            ["" if cost is None else money(Decimal(str(cost)))],
        )
        for day, cost in reversed(list(told))
    ]
