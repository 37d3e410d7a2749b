"""The collector as the settings say. Not here: any part of it."""

from __future__ import annotations

from collections.abc import Iterable

from data_platform.core.errors import PlatformError
from data_platform.core.hosts import is_this_machine
from data_platform.core.lake.store import Lake
from data_platform.core.settings import Settings
from data_platform.sources.connectors import known_source
from data_platform.sources.http.collector import Collector
from data_platform.sources.http.intake import Intake
from data_platform.sources.http.options import chosen_collector, stream_of
from data_platform.sources.http.producers import SETTING, producers
from data_platform.sources.landing_source import LandingSource


def collector(
    settings: Settings, lake: Lake, sources: Iterable[LandingSource], host: str, name: str | None
) -> tuple[str, Collector]:
    """Name of the collector, and itself, to listen on `host`; what a crash of it left is sealed. Raises PlatformError
    for wrong settings, for a host beyond this machine without tokens, and while another of this name runs."""
    here = is_this_machine(host)
    if settings.collector_tokens is None and not here:
        problem = f"Listening on {host} would let anybody post events, and there are no tokens."
        raise PlatformError(problem, f"Set {SETTING} (`data-platform collector-token`), or listen on 127.0.0.1.")
    chosen, options = chosen_collector(settings.sources, name)
    known = {one.name: one for one in sources}
    known_source(f"http.{chosen}", options.source, known)
    tokens = producers(settings.collector_tokens, open_here=here)
    intake = Intake(lake, settings.landing, stream_of(chosen), options.seal_seconds)
    intake.recover(options.source)
    return chosen, Collector(intake, tokens, known, options)
