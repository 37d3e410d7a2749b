"""The commands about streams. Not here: reading them (worker), what a replay does (sources)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from data_platform.core.errors import PlatformError
from data_platform.core.settings import settings
from data_platform.core.terminal import out

app = typer.Typer(no_args_is_help=True, help="Streams that are read from other systems.")
NAMES = "A stream is kafka:NAME/TOPIC/PARTITION, as `raw/ingestion_ledger` names it; without /PARTITION all of a topic."


@app.callback()
def streams() -> None:
    """Streams that are read from other systems."""


@app.command()
def replay(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="kafka:NAME/TOPIC/PARTITION, or kafka:NAME/TOPIC.")],
    begin: Annotated[
        str, typer.Option("--since", metavar="OFFSET|MOMENT", help="Where to begin, for example 2024-01-31.")
    ],
) -> None:
    """Have a topic of Kafka read again from an offset or a time on. A worker goes there within seconds."""
    from data_platform.core.discovery import landing_sources
    from data_platform.core.lake.store import configured_lake
    from data_platform.sources.connectors import sections
    from data_platform.sources.kafka.replay import replay as read_again
    from data_platform.sources.streams import ways

    kind, _, rest = stream.partition(":")
    name, _, where = rest.partition("/")
    topic, _, partition = where.partition("/")
    if kind != "kafka" or not topic or not (partition.isdecimal() or not partition):
        raise PlatformError(f"{stream} is no stream of Kafka.", NAMES)
    section = next((one for one in sections(settings().sources) if (one.kind, one.name) == (kind, name)), None)
    if section is None:
        raise PlatformError(f"[{kind}.{name}] is not configured.", NAMES)
    moment = _begin(begin)
    if isinstance(moment, int) and not partition:
        raise PlatformError(f"An offset means something in one partition alone, and {stream} names none.", NAMES)
    into = ways(configured_lake(), landing_sources())
    for one in read_again(section.title, section.options, into, topic, int(partition) if partition else None, moment):
        sentence = (
            f"{one.stream} is read again from offset {one.offset:,} on, as generation {one.generation}; it stood at"
        )
        out.print(f"{sentence} {one.stood:,}.", markup=False)


def _begin(text: str) -> int | dt.datetime:
    if text.isdecimal():
        return int(text)
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        raise PlatformError(
            f"--from {text} is neither an offset nor a time.", "Write 1200 or 2024-01-31T10:00."
        ) from None
