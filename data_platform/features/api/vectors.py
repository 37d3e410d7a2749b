"""Vectors as JSON answers: stored text joined to the version and age that travel with it.
Not here: looking vectors up, requests."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Sequence

from data_platform.core.contract.table import Table
from data_platform.core.http.problems import Problem
from data_platform.features.online.store import OnlineSnapshot


@functools.lru_cache(maxsize=64)
def _fixed(snapshot: OnlineSnapshot) -> str:
    fields = {
        "snapshot_date": snapshot.snapshot_date.isoformat(),
        "table_version": snapshot.version,
        "contract_version": snapshot.contract,
        "written_at": snapshot.written_at.isoformat(),
    }
    return json.dumps(fields)[1:-1]


def age_of(table: type[Table], snapshot: OnlineSnapshot, now: dt.datetime) -> tuple[int, bool]:
    """Seconds since the moment the values describe, and whether that is longer than the contract promises."""
    age = max(dt.timedelta(), now - snapshot.as_of)
    return int(age.total_seconds()), table.fresh is not None and age > table.fresh.fail


def provenance(table: type[Table], snapshot: OnlineSnapshot, now: dt.datetime) -> str:
    """The members that say how old and of which version a vector is, without braces."""
    age, stale = age_of(table, snapshot, now)
    return f'{_fixed(snapshot)}, "age_seconds": {age}, "stale": {"true" if stale else "false"}'


def places(snapshot: OnlineSnapshot, names: Sequence[str]) -> list[int] | None:
    """Where the named features stand in a vector; None for all of them in order. Raises Problem."""
    if tuple(names) == snapshot.features:
        return None
    absent = [name for name in names if name not in snapshot.features]
    if absent:
        detail = f"{snapshot.feature_set} is served without {', '.join(absent)} as yet."
        raise Problem(404, "not-served", detail, "The next snapshot will have it; ask for other features until then.")
    return [snapshot.features.index(name) for name in names]


def own(snapshot: OnlineSnapshot, text: bytes | None, column: str, tenant: str) -> bytes | None:
    """The vector, if its `column` says that it is this tenant's."""
    if text is None or column not in snapshot.features:
        return None
    return text if json.loads(text)[snapshot.features.index(column)] == tenant else None


def features_object(snapshot: OnlineSnapshot, names: Sequence[str], text: bytes) -> str:
    """One vector as a JSON object of the named features."""
    values, chosen = json.loads(text), places(snapshot, names)
    picked = values if chosen is None else [values[place] for place in chosen]
    return json.dumps(dict(zip(names, picked, strict=True)))


def one(table: type[Table], snapshot: OnlineSnapshot, player: str, features: str, now: dt.datetime) -> bytes:
    """The answer for one player; `features` is the JSON object."""
    return (
        f'{{"feature_set": "{snapshot.feature_set}", "player_id": {json.dumps(player)}, '
        f'{provenance(table, snapshot, now)}, "features": {features}}}'
    ).encode()


def many(
    table: type[Table],
    snapshot: OnlineSnapshot,
    players: Sequence[str],
    names: Sequence[str],
    vectors: Sequence[bytes | None],
    now: dt.datetime,
) -> bytes:
    """The answer for many players, in their order: feature names once, values by position."""
    found = f', "found": true, {provenance(table, snapshot, now)}, "values": '.encode()
    parts: list[bytes] = []
    # An id may need escapes; the list as a whole is escaped in one go, and cut at what separates it.
    for player, text in zip(json.dumps(list(players), separators=("\n", ":"))[1:-1].split("\n"), vectors, strict=True):
        if text is None:
            parts.append(b'{"player_id": %b, "found": false}' % player.encode())
        else:
            parts.append(b'{"player_id": %b%b%b}' % (player.encode(), found, text))
    head = f'{{"feature_set": "{snapshot.feature_set}", "features": {json.dumps(list(names))}, "vectors": [\n'.encode()
    return head + b",\n".join(parts) + b"\n]}"


def picked(snapshot: OnlineSnapshot, names: Sequence[str], vectors: Sequence[bytes | None]) -> list[bytes | None]:
    """Each vector cut down to the named features."""
    chosen = places(snapshot, names)
    if chosen is None:
        return list(vectors)
    cut: list[bytes | None] = []
    for text in vectors:
        values = json.loads(text) if text is not None else None
        cut.append(json.dumps([values[place] for place in chosen]).encode() if values is not None else None)
    return cut
