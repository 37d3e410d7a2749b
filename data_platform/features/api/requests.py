"""What clients send, read with bounds and judged before anything is looked up.
Not here: answers, tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.types import Receive, Scope

from data_platform.core.contract.table import Table
from data_platform.core.http.problems import JSON, Problem, quoted, unknown
from data_platform.core.http.requests import read_body
from data_platform.features.online.vectors import feature_names

MOST_IDS = 1_000
MOST_BATCH_BYTES = 2 * 1024 * 1024
"""A thousand of the longest ids, each character escaped as six or so."""
LONGEST_ID = 256
ID_PATTERN = f"^[^\\x00-\\x1f\\x7f]{{1,{LONGEST_ID}}}$"
"""Also of the OpenAPI document: no control characters, not empty, not endless."""
_ONE_ID = rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{LONGEST_ID}}}"
_ID = re.compile(_ONE_ID)
_IDS = re.compile(rf"{_ONE_ID}(\n{_ONE_ID})*")


def segments(scope: Scope) -> list[str]:
    """The path's parts, each decoded by itself: an id may hold any character, also a slash. Raises Problem."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    try:
        return [unquote_to_bytes(part).decode() for part in raw.split(b"/")[1:]]
    except UnicodeDecodeError:
        raise Problem(400, "malformed-path", "The path is not UTF-8.") from None


def parameters(scope: Scope, known: Iterable[str]) -> dict[str, str]:
    """The query's parameters. Raises Problem for one that is not known, or given twice."""
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20
        )
    except ValueError:
        raise Problem(400, "malformed-query", "The query is not URL-encoded UTF-8.") from None
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise unknown(422, "parameter", name, known)
        if name in given:
            raise Problem(422, "repeated-parameter", f"{name} is given twice.", "Separate names by commas.")
        given[name] = value
    return given


def entity_ids(given: Sequence[Any]) -> list[str]:
    """The same for many, all at once if none is wrong. Raises Problem for the first that is."""
    try:
        joined = "\n".join(given)
    except TypeError:
        pass
    else:
        # A line break inside an id would make two good ids of one bad one.
        if joined.count("\n") == len(given) - 1 and _IDS.fullmatch(joined):
            return list(given)
    return [entity_id(one) for one in given]


def listed(given: str | None) -> list[str] | None:
    """Names separated by commas."""
    return None if given is None else given.split(",") if given else []


def chosen_features(table: type[Table], given: Sequence[str] | None) -> tuple[str, ...] | None:
    """The features asked for, each once, in the order given; None stays None: all of them. Raises Problem."""
    names = feature_names(table)
    if given is None:
        return None
    if not given:
        raise Problem(422, "no-features", "`features` is empty.", "Name features, or leave it out to get all.")
    for name in given:
        if name not in names:
            raise unknown(422, "feature", name, names)
    return tuple(dict.fromkeys(given))


def entity_id(given: Any) -> str:
    """A player's id that may exist. Raises Problem."""
    if not isinstance(given, str):
        raise Problem(422, "malformed-id", f"An id must be text, not {quoted(json.dumps(given))}.")
    if not _ID.fullmatch(given):
        detail = f"{quoted(given)} is no id: it must have 1 to {LONGEST_ID} characters and no control characters."
        raise Problem(422, "malformed-id", detail)
    return given


async def batch_request(scope: Scope, receive: Receive, table: type[Table]) -> tuple[list[str], tuple[str, ...] | None]:
    """The players and features (None: all) a batch asks for. Raises Problem."""
    body = await read_body(scope, receive, JSON, MOST_BATCH_BYTES)
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "malformed-json", "The body is not JSON.") from None
    if not isinstance(asked, dict):
        raise Problem(422, "malformed-request", "The body must be a JSON object.", 'Send {"player_ids": [...]}.')
    for name in asked:
        if name not in ("player_ids", "features"):
            raise unknown(422, "field", name, ("player_ids", "features"))
    ids = asked.get("player_ids")
    if not isinstance(ids, list) or not ids:
        raise Problem(422, "malformed-request", "`player_ids` must be a list of ids that is not empty.")
    if len(ids) > MOST_IDS:
        detail = f"{len(ids):,} ids are more than the {MOST_IDS:,} that one request may ask for."
        raise Problem(422, "too-many-ids", detail, "Send them in parts.")
    named = asked.get("features")
    if "features" in asked and not (isinstance(named, list) and all(isinstance(name, str) for name in named)):
        raise Problem(422, "malformed-request", "`features` must be a list of names.")
    return entity_ids(ids), chosen_features(table, named)
