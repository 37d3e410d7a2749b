"""The web application: who may see the pages, how browsers must treat them, and who starts them.
Belongs here: token, hosts, headers. Not here: any page (observability/health, dashboards/), the APIs."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data_platform.core.discovery import dashboards, graph_views
from data_platform.core.errors import PlatformError
from data_platform.core.hosts import host_name, is_this_machine
from data_platform.core.http.problems import Problem
from data_platform.core.http.tenants import EVERYBODY, Reach
from data_platform.features.api.application import PREFIX, FeatureApi
from data_platform.observability.health.facts import Collector
from data_platform.observability.health.pages import Pages
from data_platform.web.costs.pages import PREFIX as COSTS
from data_platform.web.costs.pages import CostPages
from data_platform.web.dashboards.pages import DashboardPages
from data_platform.web.graphs.pages import PREFIX as GRAPHS
from data_platform.web.graphs.pages import GraphPages
from data_platform.web.listening import run
from data_platform.web.live.pages import PREFIX as LIVE
from data_platform.web.live.pages import LivePages
from data_platform.web.query.access import Access
from data_platform.web.query.application import QueryApi
from data_platform.web.reach import REACH
from data_platform.web.watched_pages import static_files

SHORTEST_TOKEN = 16
STATIC = "/static/"
"""Of these the address tells nothing: a browser may keep them, and asks whether they changed. Of 75 kB that the live
page comes with, 51 are the charts."""
OPEN_TO_ALL = ("/healthz", STATIC)
"""Nothing of the company is in them; a load balancer and the stylesheet need no token."""
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # The address may carry the token: no other site and no cache may learn it.
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cross-origin-resource-policy": "same-origin",
}


def application(
    collector: Collector,
    token: SecretStr | None,
    api: FeatureApi | None = None,
    live: LivePages | None = None,
    query: QueryApi | None = None,
    costs: CostPages | None = None,
) -> ASGIApp:
    """The pages over a collector and of graphs, the live pages, the page of costs, and under `/v1/` the query and the
    feature API; all start and stop with the application.

    The APIs have tokens of their own: the page's guard neither lets anybody in there nor keeps anybody out.
    """

    others = {GRAPHS: "Graphs", LIVE: "Live", COSTS: "Costs"}
    there = {GRAPHS: bool(graph_views()), LIVE: bool(live), COSTS: bool(costs)}
    beside = {address: name for address, name in others.items() if there[address]}
    pages = Pages(collector, beside)
    shown, graphs = DashboardPages(pages, dashboards()), GraphPages(pages, graph_views())

    @asynccontextmanager
    async def running(_app: Starlette) -> AsyncIterator[None]:
        collector.start()
        shown.marts.start()
        for watching in (live, costs):
            if watching:
                watching.start()
        if api:
            api.start()
        try:
            yield
        finally:
            for watching in (live, costs):
                if watching:
                    watching.stop()
            if api:
                api.stop()
            shown.marts.stop()
            collector.stop()

    tenants = query.access if query else None
    guard = Middleware(Guard, token=token.get_secret_value() if token else None, tenants=tenants)
    watched = [route for one in (live, costs) if one for route in one.routes(beside)]
    routes = [*shown.routes(), *graphs.routes(), *watched, static_files(), *pages.routes()]
    guarded = Starlette(routes=routes, middleware=[guard], lifespan=running)

    async def whose_it_is(scope: Scope, receive: Receive, send: Send) -> None:
        if query and scope["type"] == "http" and query.answers(scope):
            await query(scope, receive, send)
        elif api and scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await api(scope, receive, send)
        else:
            await guarded(scope, receive, send)

    return whose_it_is


class Guard:
    """Refuses who may not read, and adds the headers to every answer.

    With a token: a request must carry it, as `Authorization: Bearer` or `?token=`. Without one: the request must be
    addressed to this very machine, so that a foreign page cannot read it through a name that resolves to 127.0.0.1.
    A WebSocket, which browsers let any page open, must also come from a page of this server.

    The pages of costs and graphs also open for tokens of the query API, and show those of tenants their own rows.
    """

    def __init__(self, app: ASGIApp, token: str | None, tenants: Access | None = None) -> None:
        self.app, self.token, self.tenants = app, token, tenants

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            refused = _from_elsewhere(scope) or self._refusal(scope)
            await (_refuse_socket if refused else self.app)(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        kept = {"cache-control": "no-cache"} if scope["path"].startswith(STATIC) else {}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS | kept)
            await send(message)

        app = self._refusal(scope) or self.app
        await app(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("These pages are read-only.\n", 405, {"allow": "GET, HEAD"})
        if _is_for_tenants(scope["path"]) and (refused := self._reach(scope, headers)):
            return refused if isinstance(refused, PlainTextResponse) else None
        if self.token is None:
            if is_this_machine(host_name(headers.get("host", ""))):
                return None
            return PlainTextResponse("Without a token this page is for this machine alone.\n", 421)
        if scope["path"].startswith(OPEN_TO_ALL) or any(_same(given, self.token) for given in _given(scope, headers)):
            return None
        remedy = "Pass the token as `Authorization: Bearer TOKEN` or `?token=TOKEN`.\n"
        return PlainTextResponse(remedy, 401, {"www-authenticate": "Bearer"})

    def _reach(self, scope: Scope, headers: Headers) -> PlainTextResponse | Reach | None:
        """Whose rows a page may show to a token of the query API; None where there is none: then the page's own token
        must be there, and shows everybody's."""
        scope[REACH] = EVERYBODY
        for given in _given(scope, headers) if self.tenants else []:
            assert self.tenants is not None
            if self.token is not None and _same(given, self.token):
                return None
            try:
                reach = self.tenants.reach_of(given.encode("utf-8", "replace"))
            except Problem as problem:
                return PlainTextResponse(f"{problem}\n", problem.status, problem.headers)
            scope[REACH] = reach or EVERYBODY
            return reach
        return None


def _is_for_tenants(path: str) -> bool:
    return path in (COSTS, f"{COSTS}/socket", GRAPHS) or path.startswith(f"{GRAPHS}/")


def _from_elsewhere(scope: Scope) -> bool:
    """Opened by a page of another server. What is no browser says no origin, and needs the token as ever."""
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


async def _refuse_socket(_scope: Scope, receive: Receive, send: Send) -> None:
    """Before it is accepted: the client is answered 403."""
    await receive()
    await send({"type": "websocket.close"})


def _given(scope: Scope, headers: Headers) -> list[str]:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    bearer = [value.strip()] if scheme.lower() == "bearer" else []
    return bearer + parse_qs(scope["query_string"].decode("latin-1")).get("token", [])


def _same(given: str, token: str) -> bool:
    """Takes the same time wherever they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def require_token(host: str, token: SecretStr | None) -> None:
    """Raise PlatformError unless it is safe to listen on `host`: beyond this machine only with a token."""
    remedy = "Set DATA_PLATFORM_SERVE_TOKEN to a random one, for example from `openssl rand -hex 24`"
    if token is not None and len(token.get_secret_value()) < SHORTEST_TOKEN:
        raise PlatformError(f"The token has fewer than {SHORTEST_TOKEN} characters.", f"{remedy}.")
    if token is None and not is_this_machine(host):
        problem = f"Listening on {host} would show the pages to others, and no token is set."
        raise PlatformError(problem, f"{remedy}, or listen on 127.0.0.1.")


def serve(
    collector: Collector,
    host: str,
    port: int,
    token: SecretStr | None,
    started: Callable[[str], None],
    api: FeatureApi | None = None,
    live: LivePages | None = None,
    query: QueryApi | None = None,
    costs: CostPages | None = None,
) -> None:
    """Answer requests until interrupted; `started` is called with the address.

    Raises PlatformError when it would be unsafe or the port is taken.
    """
    require_token(host, token)
    run(application(collector, token, api, live, query, costs), host, port, started)
