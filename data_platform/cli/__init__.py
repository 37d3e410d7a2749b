"""The command line: `data-platform COMMAND`. Belongs here: the platform's own commands, errors as one paragraph.
Not here: what the commands do, commands of a domain (its module `commands`); nothing imports this package."""

from __future__ import annotations

import functools
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
    lake,
    looking,
    planning,
    publishing,
    rejecting,
    serving,
    simulating,
    status,
    streams,
    training_sets,
    withdrawing,
    worker,
)
from data_platform.core.errors import PlatformError
from data_platform.core.faults import is_panic, known_fault
from data_platform.core.importing import end_at_once
from data_platform.core.packages import modules_called
from data_platform.core.private_files import write_for_owner_alone
from data_platform.core.stopping import noting_stops, stop_requested
from data_platform.core.terminal import err, out

COMMANDS = (
    building.simulate,
    building.ingest,
    building.build,
    status.status,
    status.why,
    looking.table,
    building.demo,
    planning.plan,
    domains.new,
    withdrawing.withdraw,
    publishing.publish,
    simulating.simulate_live,
    worker.worker,
    serving.api_token,
    serving.collector_token,
    serving.query_token,
)
GROUPS = {
    "serve": serving.app,
    "rejected": rejecting.app,
    "contracts": contracting.app,
    "alerts": alerting.app,
    "features": features.app,
    "training-set": training_sets.app,
    "lake": lake.app,
    "streams": streams.app,
}


@functools.cache
def command_line() -> typer.Typer:
    """The platform's commands, and the groups that domains bring. Raises PlatformError for two of one name."""
    app = typer.Typer(
        no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False
    )
    app.callback()(options)
    for one in COMMANDS:
        app.command()(one)
    for name, group in GROUPS.items():
        app.add_typer(group, name=name)
    for module in modules_called("commands"):
        brought: typer.Typer = module.app
        if brought.info.name in typer.main.get_group(app).commands:
            raise PlatformError(f"Two commands are called {brought.info.name}.", f"Rename that of {module.__name__}.")
        app.add_typer(brought)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"data-platform {importlib.metadata.version('data-platform')}")
        raise typer.Exit


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
    """Entry point: a command, after which the process ends."""
    try:
        command()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            end_at_once(end.code or 0)
        raise
    end_at_once(0)


def command() -> None:
    """Carry out what the arguments ask for. Anything that goes wrong is one paragraph and exit code 1, unless --debug
    asks for more. A command that was asked to stop ends with 130 (Ctrl-C) or 143 (SIGTERM), whatever the signal did to
    what was running."""
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
        command_line()()
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
