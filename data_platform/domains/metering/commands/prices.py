"""Commands on prices: prices load. Not here: reading price lists (domains/metering/price_lists)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from data_platform.core.errors import counted
from data_platform.core.terminal import AsJson, out, print_json

app = typer.Typer(name="prices", no_args_is_help=True, help="Prices of language models: load a price list.")


@app.callback()
def prices() -> None:
    """Prices of language models."""


@app.command("load")
def load(
    listed: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="`genai-prices` for the list of that package, or a file: a company's CSV or JSON with the fields of "
            "raw/model_prices, Langfuse's default model prices, LiteLLM's (tokencost's) model prices.",
        ),
    ],
    valid_from: Annotated[
        dt.datetime | None,
        typer.Option(
            "--valid-from",
            metavar="MOMENT",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="From when on they hold (UTC), where the list does not say so.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--list", metavar="NAME", help="What the list is called; by default its file or its version."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option("--provider", metavar="NAME", help="Of a list that names none; by default any provider's."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="TENANT", help="Whose prices they are; by default everybody's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a price list and put its prices into landing; `data-platform build` prices what was used since."""
    from data_platform.core.settings import settings
    from data_platform.domains.metering.price_lists.loading import land, read_prices

    moment = valid_from.replace(tzinfo=dt.UTC) if valid_from else None
    found = read_prices(listed, moment, source, provider, tenant)
    path = land(found.lines, settings().landing)
    models = len({(line.provider, line.model) for line in found.lines})
    if as_json:
        print_json({"file": str(path), "prices": len(found.lines), "models": models, "left_out": dict(found.left_out)})
        return
    out.print(f"{counted(len(found.lines), 'price')} of {counted(models, 'model')} in {path}")
    now = dt.datetime.now(dt.UTC)
    if announced := [line.valid_from for line in found.lines if line.valid_from > now]:
        out.print(f"announced: {counted(len(announced), 'price')}, from {min(announced):%Y-%m-%d} on")
    for what, number in sorted(found.left_out.items()):
        if number:
            out.print(f"left out: {number:,} {what}")
