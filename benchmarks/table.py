"""Results as a table: on the terminal, and between the markers of README.md together with the machine they are from.
Not here: any measurement."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path

from rich.markup import escape
from rich.table import Table

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
HEADINGS = ("what", "ours", "reference", "ratio", "goal", "met")
COMPARED = ("dagster", "polars", "duckdb", "deltalake", "pandera", "pandas")


@dataclass(frozen=True)
class Row:
    """One result. `met` is None for what is told for information and has no goal."""

    what: str
    ours: str
    reference: str = ""
    ratio: str = ""
    goal: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        *texts, met = astuple(self)
        return (*texts, "" if met is None else "yes" if met else "MISSED")


def line(row: Row) -> str:
    """One result as a line, printed as soon as it is known."""
    colour = {None: "dim", True: "green", False: "bold red"}[row.met]
    return f"[{colour}]{escape(' · '.join(cell for cell in row.cells() if cell))}[/]"


def as_rich(rows: Sequence[Row], scale: float) -> Table:
    table = Table(title=_title(scale), caption=" · ".join(machine()))
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "what" else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row.cells()), style={None: "dim", True: "", False: "bold red"}[row.met])
    return table


def write_readme(rows: Sequence[Row], scale: float) -> None:
    lines = [
        "",
        _title(scale) + "  ",
        "  \n".join(machine()),
        "",
        _markdown(HEADINGS),
        _markdown(["---"] * len(HEADINGS)),
    ]
    lines += [_markdown(row.cells()) for row in rows]
    before, rest = README.read_text().split(BEGIN)
    _, after = rest.split(END)
    README.write_text(before + BEGIN + "\n".join(lines) + "\n\n" + END + after)


def machine() -> list[str]:
    """What the numbers were measured on."""
    cpu = [text.partition(":")[2].strip() for text in _lines("/proc/cpuinfo") if text.startswith("model name")]
    memory = next((int(text.split()[1]) for text in _lines("/proc/meminfo") if text.startswith("MemTotal")), 0)
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"
    return [
        f"{cpu[0] if cpu else platform.machine()}, {cores}, {memory / 2**20:.0f} GiB, {platform.system()}",
        ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in COMPARED)]),
    ]


def _title(scale: float) -> str:
    today = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
    return f"Benchmarks of {today}" + (f", at {scale:g} × the size the goals are for" if scale != 1 else "")


def _markdown(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
