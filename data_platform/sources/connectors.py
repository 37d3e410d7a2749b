"""What reads a foreign system into segments: the port that each room of `sources` implements, and the file that says
which are to run (`DATA_PLATFORM_SOURCES`). Not here: running them (worker), any system.

A room `sources/KIND` has a module `connector` with two functions. `external_tables(name, options)` says what is read,
without a connection and without importing the client's library; `connect(name, options, ways)` makes a Connector. Both
raise PlatformError for options that are wrong, naming section and field."""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.util
import os
import re
import threading
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from data_platform.core.errors import PlatformError, did_you_mean
from data_platform.core.lake.store import Lake
from data_platform.core.private_files import warn_if_others_may_read
from data_platform.sources.landing_source import LandingSource

VARIABLE = re.compile(r"\$\{(\w+)\}")
SETTING = "DATA_PLATFORM_SOURCES"
Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True)
class StreamState:
    """Where a stream stood at its last look."""

    source: str
    """Landing source that its lines go to."""
    stream: str
    position: int
    """First position that is not received yet."""
    lag: int | None = None
    """Positions between that and the end of the stream as the foreign system says it; None where it does not."""
    watermark: dt.datetime | None = None
    """Time, as the foreign system says it, of the newest record that was received."""
    alarm: str | None = None
    """What a person has to look at although reading goes on."""


@dataclass(frozen=True)
class ExternalTable:
    """What is read, as the lineage shows it: an asset that no run of ours computes."""

    key: tuple[str, ...]
    """For example `("kafka", "player-events")`."""
    kind: str
    source: str
    """Landing source that it is read into."""
    description: str
    most_lag: int | None = None
    """Positions behind the end of a stream from which on somebody should look; None for no bound."""

    def of(self, streams: Sequence[StreamState]) -> list[StreamState]:
        """Those of the streams that this table is read from. Streams are called `KIND:SECTION/TABLE…`, or
        `KIND:SECTION` where a section is one table; TABLE is the last part of a key."""
        return [one for one in streams if one.source == self.source and self.key[-1] == _table_of(one.stream)]


def _table_of(stream: str) -> str:
    section, *table = stream.partition(":")[2].split("/")
    return table[0] if table else section


@dataclass(frozen=True)
class Ways:
    """Where what is read goes."""

    lake: Lake
    landing: Path
    sources: Mapping[str, LandingSource]

    def folder(self, source: str) -> Path:
        return self.landing / source


class Connector(Protocol):
    """Reads one section of the file. Called from one thread at a time; any error is reported and tried again after a
    pause, with a new Connector."""

    idle_seconds: float
    """To wait before the next look when there was nothing more to read."""

    def advance(self, stop: threading.Event) -> bool:
        """Read some and write it as segments, within a few seconds; whether there is more to read at once. Returns
        early when `stop` is set. What it holds it may lose: where it goes on, segments and ledger say."""
        ...

    def states(self) -> Sequence[StreamState]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Section:
    """One `[kind.name]` of the file."""

    kind: str
    name: str
    options: Mapping[str, Any]

    @property
    def title(self) -> str:
        return f"{self.kind}.{self.name}"

    def external_tables(self) -> list[ExternalTable]:
        found: list[ExternalTable] = _room(self.kind).external_tables(self.title, self.options)
        return found

    def connect(self, ways: Ways) -> Connector:
        connected: Connector = _room(self.kind).connect(self.title, self.options, ways)
        return connected


def sections(path: Path | None) -> list[Section]:
    """What the file configures; nothing without one. `${NAME}` in a text is replaced by that variable, so that no
    secret stands in the file. Raises PlatformError naming file and section."""
    if path is None:
        return []
    warn_if_others_may_read(path, SETTING)
    try:
        said = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PlatformError(f"{path} cannot be read: {reason}.", f"Correct it or {SETTING}.") from None
    return list(_sections(path, said))


def _sections(path: Path, said: Mapping[str, Any]) -> Iterator[Section]:
    for kind, named in said.items():
        if kind not in kinds():
            known = f"{did_you_mean(kind, kinds())}There are {', '.join(kinds())}."
            raise PlatformError(f"{path}: [{kind}] is no kind of source.", known)
        if not isinstance(named, dict) or not all(isinstance(one, dict) for one in named.values()):
            raise PlatformError(f"{path}: [{kind}] has no name.", f"Write [{kind}.NAME].")
        for name, options in named.items():
            yield Section(kind, name, _filled_in(options, f"{path}: [{kind}.{name}]"))


def kinds() -> list[str]:
    """Rooms that have a connector."""
    here = Path(__file__).parent
    return sorted(found.parent.name for found in here.glob("*/connector.py"))


def _room(kind: str) -> Any:
    return importlib.import_module(f"data_platform.sources.{kind}.connector")


def _filled_in(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled_in(one, f"{where} {name}") for name, one in value.items()}
    if isinstance(value, list):
        return [_filled_in(one, where) for one in value]
    return VARIABLE.sub(lambda found: _variable(found[1], where), value) if isinstance(value, str) else value


def _variable(name: str, where: str) -> str:
    if name not in os.environ:
        raise PlatformError(f"{where}: the variable {name} is not set.", "Set it for whoever runs the platform.")
    return os.environ[name]


def checked(model: type[Options], title: str, options: Mapping[str, Any]) -> Options:
    """The options of a section as its room declares them. Raises PlatformError naming section and field, and nothing
    of what was given: it may be a secret."""
    try:
        return model.model_validate(options)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        hint = did_you_mean(field, model.model_fields) if first["type"] == "extra_forbidden" else ""
        raise PlatformError(
            f"[{title}] {field}: {first['msg']}.", f"{hint}Correct the file that {SETTING} names."
        ) from None


def known_source(title: str, source: str, sources: Mapping[str, LandingSource]) -> LandingSource:
    """The landing source of a name. Raises PlatformError for one that no domain has."""
    if source not in sources:
        raise PlatformError(
            f"[{title}] There is no landing source {source}.",
            f"{did_you_mean(source, sources)}There are {', '.join(sorted(sources))}.",
        )
    return sources[source]


def require_library(module: str, extra: str) -> None:
    """Raise PlatformError unless the client's library is installed."""
    if importlib.util.find_spec(module) is None:
        raise PlatformError(f"{module} is not installed.", f"`pip install 'data-platform[{extra}]'` brings it.")
