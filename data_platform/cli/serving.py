"""Commands that answer others over HTTP: serve, serve collector, and what makes their tokens. Not here: the answers."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from data_platform.cli.definitions import load_definitions
from data_platform.core.errors import did_you_mean
from data_platform.core.settings import settings
from data_platform.core.terminal import err, out

app = typer.Typer(invoke_without_command=True)
Host = Annotated[str, typer.Option(metavar="HOST", help="Beyond 127.0.0.1 a token is required.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")]


@app.callback()
def serve(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 3002,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks at the lake.")] = 15.0,
) -> None:
    """Open the health page (what is broken, since when, who owns it, which rows, what to do), under /live what arrives
    just now and, under /v1/, the APIs: of features, and of what was used and what it cost. `serve collector` takes
    events instead."""
    if context.invoked_subcommand is None:
        _serve_pages(host, port, every)


def _serve_pages(host: str, port: int, every: float) -> None:
    load_definitions()
    from data_platform.core.contract.table import contracts
    from data_platform.core.discovery import endpoints, landing_sources, live_spends, live_views, queries
    from data_platform.core.lake.store import configured_lake
    from data_platform.features.api.configured import feature_api
    from data_platform.observability.health.facts import Collector
    from data_platform.web.app import require_token
    from data_platform.web.app import serve as run
    from data_platform.web.costs.pages import CostPages
    from data_platform.web.live.pages import LivePages
    from data_platform.web.query.configured import query_api
    from data_platform.web.query.openapi import paths

    token = settings().serve_token
    require_token(host, token)
    lake = configured_lake()
    collector = Collector(lake, list(contracts().values()), landing_sources(), every)
    asked = " (the token is required)" if token else ""
    api = feature_api(settings(), lake, host, paths(queries(), endpoints()))
    query = query_api(settings(), lake, host)
    costs = next((CostPages(spend, settings().landing, lake) for spend in live_spends()), None)
    live = LivePages(live_views(), settings().landing, lake)

    def started(url: str) -> None:
        out.print(
            Text(f"Health page: {url}{asked}. Live page: {url}/live. Feature API: {url}/v1/features. Ctrl-C ends all.")
        )

    run(collector, host, port, token, started, api, live, query, costs)


@app.command("collector")
def serve_collector(
    host: Host = "127.0.0.1",
    port: Port = 3003,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The [http.NAME] of the sources file.")] = None,
) -> None:
    """Take events that are posted (/v1/events, /v1/batch): answered when they are on the disk, landed as segments."""
    from data_platform.core.discovery import landing_sources
    from data_platform.core.lake.store import configured_lake
    from data_platform.sources.connectors import Ways, sections
    from data_platform.sources.http.configured import collector
    from data_platform.sources.rest.mounted import beside, webhooks
    from data_platform.web.listening import run

    lake, sources = configured_lake(), landing_sources()
    chosen, application = collector(settings(), lake, sources, host, name)
    ways = Ways(lake, settings().landing, {source.name: source for source in sources})

    with webhooks(sections(settings().sources), ways) as hooks:

        def started(url: str) -> None:
            for path in hooks:
                out.print(Text(f"Webhook: POST {url}{path}"))
            out.print(Text(f"Collector “{chosen}” for {settings().home}: POST {url}/v1/events. Ctrl-C ends it."))

        run(beside(application, hooks), host, port, started)


def collector_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which producer it is for.")],
    source: Annotated[list[str], typer.Option(metavar="SOURCE", help="Landing source it may post to; repeatable.")],
    tenant: Annotated[str | None, typer.Option(metavar="TENANT", help="Whose events they are, and no others.")] = None,
) -> None:
    """Make a token for the collector: shown once, with the entry for the tokens file that lets it in."""
    from data_platform.core.discovery import landing_sources
    from data_platform.sources.connectors import known_source
    from data_platform.sources.http.producers import SETTING, new_producer

    for one in source:
        known_source("collector-token", one, {found.name: found for found in landing_sources()})
    _show_token(name, SETTING, *new_producer(name, source, tenant))


def api_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom or what it is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="features:read (default), features:historical.")
    ] = None,
) -> None:
    """Make a token for the feature API: shown once, with the entry for the tokens file that lets it in."""
    from data_platform.core.errors import PlatformError
    from data_platform.features.api.access import Scope, new_token

    wanted = scope or [Scope.READ]
    for one in wanted:
        if one not in {*Scope}:
            raise PlatformError(
                f"There is no scope {one!r}.", f"{did_you_mean(one, Scope)}There are {', '.join(Scope)}."
            )
    _show_token(name, "DATA_PLATFORM_API_TOKENS", *new_token(name, frozenset(map(Scope, wanted))))


def query_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom or what it is for.")],
    tenant: Annotated[str | None, typer.Option(metavar="TENANT", help="Whose rows it reads, and no others.")] = None,
    project: Annotated[
        list[str] | None,
        typer.Option(metavar="PROJECT", help="Of the tenant's rows those of this project alone; repeatable."),
    ] = None,
    every_tenant: Annotated[bool, typer.Option("--every-tenant", help="For operators: all rows.")] = False,
) -> None:
    """Make a token for the query API: shown once, with the entry for the tokens file that lets it in."""
    from data_platform.core.errors import PlatformError
    from data_platform.web.query.access import SETTING, new_query_token

    if (not tenant and not every_tenant) or (tenant and every_tenant):
        raise PlatformError("A token reads the rows of one tenant or of all.", "Pass --tenant NAME or --every-tenant.")
    if project and not (tenant and all(project)):
        raise PlatformError("A project is a tenant's.", "Pass --tenant NAME too.")
    _show_token(name, SETTING, *new_query_token(name, tenant, project or ()))


def _show_token(name: str, setting: str, token: str, entry: str) -> None:
    err.print(Text(f"Give this to {name}, it is kept nowhere: {token}"), soft_wrap=True)
    err.print(f"Append this to the file that {setting} names (requests per second to your taste):")
    typer.echo(entry)
