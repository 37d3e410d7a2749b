"""Vectors in Redis: one hash per feature set, filled beside the served one and renamed over it.
Not here: what a vector holds (vectors), other stores."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl
import redis

from data_platform.features.online.store import OnlineSnapshot, OnlineStore, OnlineStoreUnavailable, require_newer

FIELDS_PER_COMMAND = 2_000
UNFINISHED_SECONDS = 3_600
"""What a killed writer left behind goes away by itself."""
TIMEOUT_SECONDS = 5.0


class RedisStore(OnlineStore):
    """Keys `data-platform:online:{set}:vectors` and `:snapshot`; the braces keep both on one node of a cluster."""

    in_process = False

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, health_check_interval=30
        )

    def _fetch(self, feature_set: str, entity_ids: Sequence[str]) -> tuple[OnlineSnapshot, dict[str, bytes]] | None:
        with _errors_explained(), self._redis.pipeline(transaction=True) as both:
            both.get(_key(feature_set, "snapshot"))
            if entity_ids:
                both.hmget(_key(feature_set, "vectors"), list(entity_ids))
            about, *vectors = both.execute()
        if about is None:
            return None
        pairs = zip(entity_ids, vectors[0] if vectors else (), strict=True)
        return OnlineSnapshot.from_json(about), {one: vector for one, vector in pairs if vector is not None}

    def current(self, feature_set: str) -> OnlineSnapshot | None:
        with _errors_explained():
            about = self._redis.get(_key(feature_set, "snapshot"))
        return OnlineSnapshot.from_json(about) if about is not None else None

    def count(self, feature_set: str) -> int:
        with _errors_explained():
            return int(self._redis.hlen(_key(feature_set, "vectors")))

    def close(self) -> None:
        self._redis.close()

    def _replace(self, snapshot: OnlineSnapshot, vectors: Iterable[pl.DataFrame]) -> OnlineSnapshot:
        name = snapshot.feature_set
        require_newer(self.current(name), snapshot)
        building = _key(name, f"building:{uuid.uuid4().hex}")
        try:
            rows = self._fill(building, vectors)
            served = dataclasses.replace(snapshot, rows=rows)
            with _errors_explained():
                self._redis.transaction(lambda pipe: self._rename(pipe, building, served), _key(name, "snapshot"))
        except BaseException:
            with contextlib.suppress(redis.RedisError):
                self._redis.unlink(building)
            raise
        return served

    def _fill(self, building: str, vectors: Iterable[pl.DataFrame]) -> int:
        rows = 0
        for frame in vectors:
            for part in frame.iter_slices(FIELDS_PER_COMMAND):
                with _errors_explained(), self._redis.pipeline(transaction=False) as commands:
                    commands.hset(building, mapping=dict(part.iter_rows()))
                    commands.expire(building, UNFINISHED_SECONDS)
                    commands.execute()
                rows += len(part)
        return rows

    def _rename(self, pipe: Any, building: str, served: OnlineSnapshot) -> None:
        """Run again by the client when another writer came first, between the look and the rename."""
        about, vectors = _key(served.feature_set, "snapshot"), _key(served.feature_set, "vectors")
        known, filled = pipe.get(about), pipe.exists(building)
        require_newer(OnlineSnapshot.from_json(known) if known else None, served)
        was_there = pipe.exists(vectors)
        pipe.multi()
        if was_there:  # freed in the background: a million fields are not deleted in no time
            pipe.rename(vectors, f"{building}:replaced")
            pipe.unlink(f"{building}:replaced")
        if filled:
            pipe.rename(building, vectors)
            pipe.persist(vectors)
        pipe.set(about, served.to_json())


def _key(feature_set: str, what: str) -> str:
    return f"data-platform:online:{{{feature_set}}}:{what}"


@contextlib.contextmanager
def _errors_explained() -> Iterator[None]:
    """Failures of the server as one sentence; the URL, with its password, is not in it."""
    try:
        yield
    except redis.RedisError as error:
        raise OnlineStoreUnavailable(
            f"The online store on Redis failed ({type(error).__name__}).",
            "Check DATA_PLATFORM_ONLINE_URL and that the server is up.",
        ) from None
