"""The command that reads systems and takes in what lands, without a pause. Not here: the worker itself (sources)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rich.text import Text

from data_platform.cli.definitions import load_definitions
from data_platform.core.settings import settings
from data_platform.core.terminal import out


def worker() -> None:
    """Read the systems that DATA_PLATFORM_SOURCES names and take in what lands, until it is stopped: an event is in its
    raw table within two seconds. Several may run; runs of Dagster do the same while none does."""
    load_definitions()
    from data_platform.core.discovery import landing_sources
    from data_platform.core.instance.dagster_home import open_instance
    from data_platform.core.lake.store import configured_lake
    from data_platform.sources.connectors import sections
    from data_platform.sources.streams import ways
    from data_platform.sources.worker.process import Worker
    from data_platform.sources.worker.reports import Reports
    from data_platform.sources.worker.runless import RunlessEvents

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # a line for each table that Dagster makes in an empty home
    lake, sources, configured = configured_lake(), landing_sources(), sections(settings().sources)
    events = RunlessEvents(settings().worker / "unreported", open_instance)
    process = Worker(ways(lake, sources), configured, Reports(lake, sources, configured, events), settings().worker)
    read = ", ".join(section.title for section in configured) or "files alone; DATA_PLATFORM_SOURCES names no system"
    out.print(Text(f"Worker for {settings().home}: {read}. Ctrl-C ends it."))
    _run_until_stopped(process.run)


def _run_until_stopped(run: Callable[[threading.Event], None]) -> None:
    """In a thread of its own: a signal would interrupt what the main thread does, in the middle of a batch."""
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="worker") as pool:
        running = pool.submit(run, stop)
        try:
            running.result()
        except KeyboardInterrupt:
            stop.set()
            running.result()
