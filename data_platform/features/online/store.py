"""The online store: one snapshot of vectors per feature set, looked up by entity and replaced whole.
Belongs here: what every store promises, and which one is configured. Not here: any particular store."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from data_platform.core.contract.calendar import end_of
from data_platform.core.errors import PlatformError

FEATURE_SET = re.compile(r"[a-z][a-z0-9_]{0,40}")


class OlderThanServed(PlatformError):
    """What is served is newer than what was to replace it."""


class OnlineStoreUnavailable(PlatformError):
    """The store's server does not answer as it should."""


@dataclass(frozen=True)
class OnlineSnapshot:
    """Which vectors a feature set is served from."""

    feature_set: str
    features: tuple[str, ...]
    """Names of the values of a vector, in their order."""
    snapshot_date: dt.date
    version: int
    """Delta version of the source table that the vectors were read from."""
    contract: str
    """Contract version of the source table."""
    source: str = ""
    """Digest of the files the vectors were read from: another digest, other content."""
    rows: int = 0
    written_at: dt.datetime = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

    @functools.cached_property
    def as_of(self) -> dt.datetime:
        """The moment the values describe: the end of the snapshot day, or when they were written if that was before."""
        return min(end_of(self.snapshot_date), self.written_at)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), default=lambda value: value.isoformat())

    @classmethod
    def from_json(cls, text: str | bytes) -> OnlineSnapshot:
        fields = json.loads(text)
        fields["features"] = tuple(fields["features"])
        fields["snapshot_date"] = dt.date.fromisoformat(fields["snapshot_date"])
        fields["written_at"] = dt.datetime.fromisoformat(fields["written_at"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class OnlineVector:
    """The features of one entity and the snapshot they belong to."""

    entity_id: str
    text: bytes
    """JSON array of the values, in the order of `snapshot.features`."""
    snapshot: OnlineSnapshot

    @property
    def values(self) -> dict[str, Any]:
        return dict(zip(self.snapshot.features, json.loads(self.text), strict=True))

    @property
    def snapshot_date(self) -> dt.date:
        return self.snapshot.snapshot_date

    @property
    def version(self) -> int:
        return self.snapshot.version

    @property
    def contract(self) -> str:
        return self.snapshot.contract

    @property
    def written_at(self) -> dt.datetime:
        return self.snapshot.written_at


class OnlineStore(ABC):
    """Vectors by entity. A read sees one snapshot, whole, and the next read sees the one that replaced it.

    Any method raises OnlineStoreUnavailable when a server behind the store fails. Safe for threads and processes.
    """

    in_process: ClassVar[bool]
    """Whether a read is a matter of microseconds in this process, and may be made on an event loop."""

    def look_up(self, feature_set: str, entity_ids: Sequence[str]) -> tuple[OnlineSnapshot, list[bytes | None]] | None:
        """The snapshot and one JSON array (None: not in it) per id, in order; None when the set was never written."""
        # All at once first: one by one, a hundred ids would take a third of the whole lookup.
        wanted = entity_ids if is_storable("\n".join(entity_ids)) else [one for one in entity_ids if is_storable(one)]
        found = self._fetch(_checked(feature_set), wanted)
        if found is None:
            return None
        snapshot, vectors = found
        return snapshot, [vectors.get(entity_id) for entity_id in entity_ids]

    def read(self, feature_set: str, entity_ids: Sequence[str]) -> list[OnlineVector | None]:
        """One vector per id, in order, all of one snapshot; None for an id that is not in it."""
        found = self.look_up(feature_set, entity_ids)
        if found is None:
            return [None] * len(entity_ids)
        snapshot, texts = found
        return [
            OnlineVector(entity_id, text, snapshot) if text is not None else None
            for entity_id, text in zip(entity_ids, texts, strict=True)
        ]

    def swap(self, snapshot: OnlineSnapshot, vectors: Iterable[pl.DataFrame]) -> OnlineSnapshot:
        """Replace everything served of `snapshot.feature_set` in one step; the snapshot as it is now served.

        `vectors` has the columns entity_id (String, each once) and vector (Binary, a JSON array), in one frame or many.
        Until the end readers see what they saw before, and they still do when the swap fails or is killed. Raises
        OlderThanServed when a newer day, or a newer version of the same day, is being served.
        """
        _checked(snapshot.feature_set)
        return self._replace(dataclasses.replace(snapshot, written_at=dt.datetime.now(dt.UTC)), vectors)

    @abstractmethod
    def current(self, feature_set: str) -> OnlineSnapshot | None:
        """The snapshot being served; None when the set was never written."""

    @abstractmethod
    def count(self, feature_set: str) -> int:
        """Vectors being served, counted one by one."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _fetch(self, feature_set: str, entity_ids: Sequence[str]) -> tuple[OnlineSnapshot, dict[str, bytes]] | None: ...

    @abstractmethod
    def _replace(self, snapshot: OnlineSnapshot, vectors: Iterable[pl.DataFrame]) -> OnlineSnapshot: ...


def is_storable(entity_id: str) -> bool:
    """Whether every store can hold the id: PostgreSQL knows no NUL, and half a surrogate pair is no text."""
    try:
        return b"\0" not in entity_id.encode()
    except UnicodeEncodeError:
        return False


def require_newer(served: OnlineSnapshot | None, wanted: OnlineSnapshot) -> None:
    """Raise OlderThanServed unless the wanted snapshot may replace the served one."""
    if served is None or (served.snapshot_date, served.version) <= (wanted.snapshot_date, wanted.version):
        return
    raise OlderThanServed(
        f"{wanted.feature_set} is served as of {served.snapshot_date} (version {served.version}); "
        f"{wanted.snapshot_date} (version {wanted.version}) is older.",
        "Nothing was changed. To go back on purpose, delete what is served and materialise the online asset again.",
    )


def _checked(feature_set: str) -> str:
    if not FEATURE_SET.fullmatch(feature_set):
        raise ValueError(f"{feature_set!r} is no name of a feature set")
    return feature_set
