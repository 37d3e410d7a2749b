"""The command line: `data-platform COMMAND`. Belongs here: arguments, progress, tables on the screen, errors as one
paragraph. Not here: what the commands do; nothing imports this package."""

from __future__ import annotations

import importlib.metadata
import os
import traceback
from typing import Annotated

import typer
from rich.text import Text

from data_platform.cli import (
    alerting,
    building,
    contracting,
    domains,
    features,
    focus,
    lake,
    looking,
    metering,
    planning,
    prices,
    publishing,
    rejecting,
    research,
    serving,
    simulating,
    status,
    streams,
    training_sets,
    withdrawing,
    worker,
)
from data_platform.cli.terminal import err, out
from data_platform.core.errors import PlatformError
from data_platform.core.faults import is_panic, known_fault
from data_platform.core.private_files import write_for_owner_alone
from data_platform.core.stopping import noting_stops, stop_requested

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
for command in (
    building.simulate,
    building.ingest,
    building.build,
    status.status,
    status.why,
    looking.table,
    building.demo,
):
    app.command()(command)
app.command()(planning.plan)
app.command()(domains.new)
app.command()(withdrawing.withdraw)
app.command()(publishing.publish)
app.command()(simulating.simulate_live)
app.command()(worker.worker)
app.command()(serving.api_token)
app.command()(serving.collector_token)
app.command()(serving.query_token)
app.add_typer(serving.app, name="serve")
app.add_typer(rejecting.app, name="rejected")
app.add_typer(contracting.app, name="contracts")
app.add_typer(alerting.app, name="alerts")
app.add_typer(features.app, name="features")
app.add_typer(training_sets.app, name="training-set")
app.add_typer(lake.app, name="lake")
app.add_typer(streams.app, name="streams")
app.add_typer(prices.app, name="prices")
app.add_typer(research.app, name="research")
app.add_typer(metering.app, name="metering")
app.add_typer(focus.app, name="focus")


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"data-platform {importlib.metadata.version('data-platform')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A data platform for a game: from raw player events to churn features."""
    _debug.append(debug)
    if not debug:
        os.environ["RUST_BACKTRACE"] = "0"  # else Polars and delta-rs print stacks beside the sentence


_debug: list[bool] = []


def main() -> None:
    """Entry point: anything that goes wrong is one paragraph and exit code 1, unless --debug asks for more. A command
    that was asked to stop ends with 130 (Ctrl-C) or 143 (SIGTERM), whatever the signal did to what was running."""
    write_for_owner_alone()
    with noting_stops(_tell_stopping):
        try:
            _answer()
        except BaseException as error:
            stopped_by = stop_requested()
            done = isinstance(error, SystemExit) and not error.code  # it ended by itself, as a server does when asked
            if stopped_by is None or done:
                raise
            err.print("Stopped; run again for the rest.")
            raise SystemExit(128 + stopped_by) from None


def _tell_stopping() -> None:
    err.print("Stopping; Ctrl-C again stops at once.")


def _answer() -> None:
    try:
        app()
    except PlatformError as error:
        if stop_requested():
            raise
        if any(_debug):
            traceback.print_exc()
        _tell(error.problem, error.remedy)
        raise SystemExit(1) from None
    except BaseException as error:
        if any(_debug) or stop_requested() or not (isinstance(error, Exception) or is_panic(error)):
            raise
        unknown = f"{type(error).__name__}: {error}"
        known = known_fault(error) or PlatformError(unknown, "Run again with --debug for more.")
        _tell(known.problem, known.remedy)
        raise SystemExit(1) from None


def _tell(problem: str, remedy: str) -> None:
    """One paragraph, broken by the terminal alone, so that a path in it can be copied."""
    err.print(Text(f"{problem} ", "bold red") + Text(remedy), soft_wrap=True)
