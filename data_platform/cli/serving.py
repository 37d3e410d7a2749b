"""Commands that show the platform to others: serve, api-token. Not here: what is shown."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from data_platform.cli.terminal import err, load_definitions, out
from data_platform.core.errors import did_you_mean
from data_platform.core.settings import settings


def serve(
    host: Annotated[str, typer.Option(metavar="HOST", help="Beyond 127.0.0.1 a token is required.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 3002,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks at the lake.")] = 15.0,
) -> None:
    """Open the health page (what is broken, since when, who owns it, which rows, what to do) and, under /v1/, the
    feature API."""
    load_definitions()
    from data_platform.core.contract.table import contracts
    from data_platform.core.discovery import landing_sources
    from data_platform.core.lake.store import configured_lake
    from data_platform.features.api.configured import feature_api
    from data_platform.observability.health.facts import Collector
    from data_platform.web.app import require_token
    from data_platform.web.app import serve as run

    token = settings().serve_token
    require_token(host, token)
    lake = configured_lake()
    collector = Collector(lake, list(contracts().values()), landing_sources(), every)
    asked = " (the token is required)" if token else ""
    api = feature_api(settings(), lake, host)

    def started(url: str) -> None:
        out.print(Text(f"Health page: {url}{asked}. Feature API: {url}/v1/features. Ctrl-C ends both."))

    run(collector, host, port, token, started, api)


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
    token, entry = new_token(name, frozenset(map(Scope, wanted)))
    err.print(Text(f"Give this to {name}, it is kept nowhere: {token}"), soft_wrap=True)
    err.print("Append this to the file that DATA_PLATFORM_API_TOKENS names (requests per second to your taste):")
    typer.echo(entry)
