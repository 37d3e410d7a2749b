"""What research answers over HTTP: `POST /v1/search`. Belongs here: reading a question, writing hits.
Not here: searching (search), tokens (web/query)."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

from data_platform.core.errors import PlatformError
from data_platform.core.http.endpoints import Endpoint, Handler
from data_platform.core.http.problems import Problem, quoted, unknown
from data_platform.core.http.tenants import Reach
from data_platform.core.lake.store import Lake
from data_platform.core.moments import read_moment
from data_platform.domains.research.contracts.search import KINDS
from data_platform.domains.research.search.nearest import EXACT_UP_TO
from data_platform.domains.research.search.searching import (
    LONGEST_QUERY,
    MOST_HITS,
    WAYS,
    Found,
    Hit,
    Question,
    Searcher,
)

TENANT = "tenant_id"
FILTERS = {
    "project_id": "projects",
    "persona_id": "personas",
    "discussion_id": "discussions",
    "survey_id": "surveys",
    "text_kind": "kinds",
}
"""Field of the request → of a Question."""
FIELDS = ("query", "top", "way", "since", "until", TENANT, *FILTERS)
MOST_VALUES, LONGEST_VALUE = 200, 512
LONGEST_TOLD = 2_000
"""Characters of a text that an answer holds: a hundred hits with their neighbours stay below 2 MB."""


def search_handler(lake: Lake) -> Handler:
    """Answers questions about the lake's texts; the index is made with the first one."""
    searcher = Searcher(lake, EXACT_UP_TO)

    def answer(asked: Mapping[str, Any], reach: Reach) -> Mapping[str, Any]:
        question, tenants = _question(asked), _texts(asked, TENANT)
        reach.require(tenants, question.projects)
        if reach.projects is not None and not question.projects:
            question = dataclasses.replace(question, projects=reach.projects)
        whose = tenants or ((reach.tenant,) if reach.tenant is not None else None)
        return _told(searcher.search(question, whose))

    return answer


def _question(asked: Mapping[str, Any]) -> Question:
    for name in asked:
        if name not in FIELDS:
            raise unknown(422, "field", name, FIELDS)
    given: dict[str, Any] = {field: _texts(asked, name) for name, field in FILTERS.items()}
    given |= {name: _moment(asked, name) for name in ("since", "until")}
    query, top, way = asked.get("query"), asked.get("top", 10), asked.get("way", "hybrid")
    if not isinstance(query, str) or not isinstance(way, str):
        raise Problem(422, "malformed-request", "`query` and `way` must be text.", 'Send {"query": "…"}.')
    if not isinstance(top, int) or isinstance(top, bool):
        raise Problem(422, "malformed-request", "`top` must be a whole number.")
    try:
        return Question(query, top, way=way, **given)
    except PlatformError as error:
        raise Problem(422, "malformed-question", error.problem, error.remedy) from None


def _texts(asked: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A text, or a list of them. Raises Problem for anything else: no value is a pattern, none is left out."""
    given = asked.get(name, [])
    values = [given] if isinstance(given, str) else given
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Problem(422, "malformed-request", f"`{name}` must be a text or a list of texts.")
    if name in asked and not 0 < len(values) <= MOST_VALUES:
        raise Problem(422, "malformed-request", f"`{name}` must have 1 to {MOST_VALUES} values.", "Or leave it out.")
    for value in values:
        if len(value) > LONGEST_VALUE or not _is_whole(value):
            raise Problem(422, "malformed-id", f"{quoted(value)} is no {name}.")
    return tuple(values)


def _is_whole(text: str) -> bool:
    """Not half of a surrogate pair: no text of any table has that."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _moment(asked: Mapping[str, Any], name: str) -> dt.datetime | None:
    given = asked.get(name)
    if given is None:
        return None
    try:
        return read_moment(given)
    except (TypeError, ValueError):
        told = quoted(given) if isinstance(given, str) else "no text"
        detail = f"`{name}` is {told}; write it as 2026-01-31 or 2026-01-31T10:00:00Z."
        raise Problem(422, "malformed-moment", detail) from None


def _told(found: Found) -> dict[str, Any]:
    return {
        "hits": [_as_json(hit) for hit in found.hits],
        "way": found.way,
        "note": found.note,
        "as_of": {"research/embeddings": found.version},
    }


def _as_json(hit: Hit) -> dict[str, Any]:
    told = dataclasses.asdict(hit)
    told |= {name: _cut(told[name]) for name in ("before", "after") if told[name]}
    told["asked"] = hit.asked and hit.asked[:LONGEST_TOLD]
    return _cut(told) | {"said_at": hit.said_at.isoformat(), "score": round(hit.score, 6)}


def _cut(told: dict[str, Any]) -> dict[str, Any]:
    return told | {"text": told["text"][:LONGEST_TOLD]}


_LIST = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": MOST_VALUES}]}
_TEXT, _MAYBE_TEXT = {"type": "string"}, {"type": ["string", "null"]}
_NUMBER, _MAYBE_NUMBER = {"type": "number"}, {"type": ["number", "null"]}
_NEIGHBOUR = {
    "type": ["object", "null"],
    "properties": {
        "sequence": {"type": "integer"}, "event_type": _TEXT, "persona_id": _MAYBE_TEXT, "text": _TEXT,
    },
}  # fmt: skip
_HIT = {
    "type": "object",
    "properties": {
        "tenant_id": _TEXT, "text_kind": {"enum": KINDS}, "text": _TEXT, "project_id": _MAYBE_TEXT,
        "persona_id": _MAYBE_TEXT, "user_id": _MAYBE_TEXT, "discussion_id": _MAYBE_TEXT,
        "sequence": {"type": ["integer", "null"]}, "event_type": _MAYBE_TEXT, "question_id": _MAYBE_TEXT,
        "survey_id": _MAYBE_TEXT, "answer_id": _MAYBE_TEXT, "asked": _MAYBE_TEXT,
        "said_at": {"type": "string", "format": "date-time"}, "score": _NUMBER, "similarity": _MAYBE_NUMBER,
        "words": _MAYBE_NUMBER, "before": _NEIGHBOUR, "after": _NEIGHBOUR,
    },
}  # fmt: skip

ENDPOINTS = (
    Endpoint(
        "search",
        "What was said or answered about something, and who personas are: by meaning and by words, the best first.",
        request={
            "type": "object",
            "required": ["query"],
            "additionalProperties": False,
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": LONGEST_QUERY},
                "top": {"type": "integer", "minimum": 1, "maximum": MOST_HITS, "default": 10},
                "way": {"enum": WAYS, "default": "hybrid"},
                "since": {"type": "string", "description": "Said then or later; UTC where it names no zone."},
                "until": {"type": "string", "description": "Said before then."},
                **{name: _LIST for name in (TENANT, *FILTERS)},
            },
        },
        response={
            "type": "object",
            "properties": {
                "hits": {"type": "array", "items": _HIT},
                "way": {"enum": WAYS},
                "note": {"type": ["string", "null"], "description": "What the order could not heed."},
                "as_of": {"type": "object", "description": "Version of the table that was searched."},
            },
        },
        handler=search_handler,
        by_project=True,
    ),
)
