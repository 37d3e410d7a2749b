"""What commands share, the platform's own and those of domains: the two consoles, progress bars, frames and JSON on the
screen, finding a table by name. Not here: any command."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table as Grid
from rich.text import Text

from data_platform.core.errors import PlatformError, counted, did_you_mean

if TYPE_CHECKING:
    import polars as pl

PIPED_WIDTH = 160


class PlainConsole(Console):
    """A console on which data is text: an id that holds an escape sequence is shown, not obeyed. What the console
    itself sends (colours, moving the cursor) goes through; a message needs no escaping of its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def visible(text: str) -> str:
    """The text with � for every character that a terminal obeys or that turns the reading direction."""
    return text if text.isprintable() else _UNSEEN.sub("�", text)


_UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
out = PlainConsole(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = PlainConsole(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
TABLES = "TABLE|GROUP"
Tables = Annotated[
    list[str] | None, typer.Argument(metavar=TABLES, help="Tables or groups, with all they need; all by default.")
]


def day_option(name: str, text: str) -> Any:
    """An option that takes a day, the same way everywhere."""
    return typer.Option(name, formats=["%Y-%m-%d"], metavar="DAY", help=text)


def days_from_to(first: dt.datetime | None, last: dt.datetime | None) -> tuple[dt.date | None, dt.date | None]:
    """The days of `--from` and `--to`. Raises PlatformError when they are the wrong way round."""
    days = first.date() if first else None, last.date() if last else None
    if days[0] and days[1] and days[0] > days[1]:
        raise PlatformError(f"--from {days[0]} is after --to {days[1]}.", "Give the earlier day to --from.")
    return days


def contract(key: str) -> Any:
    from data_platform.core.contract.table import contracts
    from data_platform.core.discovery import know_contracts

    know_contracts()
    found = [t for k, t in contracts().items() if key in (k, t.table_name())]
    if len(found) == 1:
        return found[0]
    if found:
        raise PlatformError(
            f"{key} names {counted(len(found), 'table')}.", f"Use one of {', '.join(t.key for t in found)}."
        )
    meant = did_you_mean(key, [*contracts(), *(t.table_name() for t in contracts().values())])
    raise PlatformError(f"There is no table {key!r}.", f"{meant}`data-platform status --all` lists all tables.")


UPRIGHT_ROWS = 5
"""Rows side by side when a table is shown upright."""


def show(frame: pl.DataFrame) -> None:
    """A frame as text, upright when it is too wide for the terminal."""
    if not len(frame):
        out.print("(no rows)")
        return
    rows = plain_rows(frame)
    upright = sum(max(len(name), 12) + 2 for name in frame.columns) > out.width
    if upright:
        for first in range(0, len(rows), UPRIGHT_ROWS):
            block = rows[first : first + UPRIGHT_ROWS]
            grid = Grid("column", *[f"row {first + n}" for n in range(1, len(block) + 1)], box=None, pad_edge=False)
            for name in frame.columns:
                grid.add_row(name, *[cell(row[name]) for row in block])
            out.print(grid)
        return
    grid = Grid(*frame.columns, box=None, pad_edge=False)
    for row in rows:
        grid.add_row(*[cell(value) for value in row.values()])
    out.print(grid)


def cell(value: Any, most: int = 40) -> Text:
    """A value as plain text: no markup, no control characters, at most so many characters."""
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    text = "" if value is None else str(value)
    text = "".join(c if c.isprintable() else "�" for c in text)  # a line break too: a cell is a line
    return Text(text if len(text) <= most else text[: most - 1] + "…")


def plain_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts()


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=_json_value) + "\n")


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.isoformat() if isinstance(value, (dt.date, dt.datetime)) else str(value)


@contextmanager
def progress(what: str, total: int | None, unit: str) -> Iterator[Any]:
    """A progress bar on the terminal (stderr), and a line every ten seconds where there is none; the value is called
    with (what is being done, done, total)."""
    if not err.is_terminal:
        with _progress_in_lines(what, total, unit) as advance:
            yield advance
        return
    counts = (BarColumn(), MofNCompleteColumn(), TextColumn(unit)) if unit else ()
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        *counts,
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=total)

        def advance(step: str, done: int, total: int | None = total) -> None:
            bar.update(task, description=step, completed=done, total=total)

        yield advance


@contextmanager
def busy(what: str) -> Iterator[Callable[[str], None]]:
    """The same for what nobody can count: a line that says what is being done and moves; the value is called with what
    is done now."""
    with progress(what, None, "") as advance:
        yield lambda step: advance(step, 0)


LINE_SECONDS = 10.0


@contextmanager
def _progress_in_lines(what: str, total: int | None, unit: str) -> Iterator[Any]:
    """For logs and pipes: nothing for what is quick, and no control characters."""
    now, over, began = [what, 0, total], threading.Event(), time.monotonic()

    def lines() -> None:
        while not over.wait(LINE_SECONDS):
            step, done, all_ = now
            of = f" of {all_:,}" if all_ is not None else ""
            counts = f": {done:,}{of} {unit}" if unit else ""
            err.print(Text(f"{step}{counts}, {time.monotonic() - began:.0f} s"), soft_wrap=True)

    def advance(step: str, done: int, total: int | None = total) -> None:
        now[:] = step, done, total

    thread = threading.Thread(target=lines, daemon=True)
    thread.start()
    try:
        yield advance
    finally:
        over.set()
        thread.join()


MOST_LISTED = 5


def tell_waiting(waiting: Mapping[str, set[str]]) -> str:
    """What keeps its old days because it needs one that failed."""
    tables = [
        f"{key} ({min(days)}{'' if len(days) == 1 else f' and {len(days) - 1} more'})" if any(days) else key
        for key, days in waiting.items()
    ]
    more = f" and {len(tables) - MOST_LISTED} more tables" if len(tables) > MOST_LISTED else ""
    return f"What needs these days waits for them: {', '.join(tables[:MOST_LISTED])}{more}. " if tables else ""
