"""Commands that show the platform to others: serve. Not here: what is shown."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from data_platform.cli.terminal import load_definitions, out
from data_platform.core.settings import settings


def serve(
    host: Annotated[str, typer.Option(help="Beyond 127.0.0.1 a token is required.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 3002,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks at the lake.")] = 15.0,
) -> None:
    """Open the health page: what is broken, since when, who owns it, which rows, what to do."""
    load_definitions()
    from data_platform.core.contract import contracts
    from data_platform.core.lake import configured_lake
    from data_platform.gameplay.sources import SOURCES
    from data_platform.serving.app import require_token
    from data_platform.serving.app import serve as run
    from data_platform.serving.health.facts import Collector

    token = settings().serve_token
    require_token(host, token)
    lake = configured_lake()
    collector = Collector(lake, list(contracts().values()), SOURCES, every)
    asked = " (the token is required)" if token else ""
    run(collector, host, port, token, lambda url: out.print(Text(f"Health page: {url}{asked}. Ctrl-C ends it.")))
