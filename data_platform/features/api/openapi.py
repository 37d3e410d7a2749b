"""The OpenAPI 3.1 document and the catalogue, both made from the contracts.
Not here: answering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from data_platform.core.contract.table import Column, Table
from data_platform.core.http.problems import JSON, PROBLEM
from data_platform.features.api.historical import ARROW
from data_platform.features.api.requests import ID_PATTERN, LONGEST_ID, MOST_IDS
from data_platform.features.online.vectors import feature_names, wire_type

PROBLEMS = {
    400: "The request is malformed.",
    401: "No token, or one that is not known.",
    403: "The token lacks the scope.",
    404: "No such feature set or player, or nothing is served of it yet.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body has another media type.",
    421: "Without tokens the API answers this machine alone.",
    422: "The request names what does not exist, or breaks a bound.",
    429: "More requests than the token may make; `Retry-After` says when to come back.",
    503: "The online store does not answer.",
}
WITHOUT_BODY = (400, 401, 403, 404, 421, 422, 429, 503)
PROVENANCE: dict[str, Any] = {
    "snapshot_date": {"type": "string", "format": "date", "description": "UTC day whose end the values describe."},
    "table_version": {"type": "integer", "description": "Version of the Delta table the values were read from."},
    "contract_version": {"type": "string"},
    "written_at": {"type": "string", "format": "date-time", "description": "When the snapshot was put online."},
    "age_seconds": {"type": "integer", "minimum": 0, "description": "Since the moment the values describe."},
    "stale": {"type": "boolean", "description": "Whether that is longer than the contract promises."},
}
PLAYER_ID = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID, "pattern": ID_PATTERN}


def described(table: type[Table]) -> dict[str, Any]:
    """A feature set in the catalogue."""
    return {
        "name": table.table_name(),
        "table": table.key,
        "description": table.table_description(),
        "owner": table.owner,
        "contract_version": table.version(),
        "fresh_within_seconds": int(table.fresh.fail.total_seconds()) if table.fresh else None,
        "features": [_feature(table.columns[name]) for name in feature_names(table)],
    }


def _feature(column: Column) -> dict[str, Any]:
    rules = [rule.description for rule in column.rules()]
    document = {"name": column.name, "type": str(column.dtype), "description": column.description, "unit": column.unit}
    return document | {"nullable": column.nullable, "rules": rules}


def document(tables: Mapping[str, type[Table]], with_history: bool, beside: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI document of the API over these feature sets, and of paths `beside` that others answer."""
    paths: dict[str, Any] = {
        **beside,
        "/v1/features": {
            "get": _operation("list_feature_sets", "Every feature set and what is served of it.", _CATALOGUE)
        },
        "/v1/openapi.json": {"get": _operation("openapi", "This document.", {"type": "object"})},
    }
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    for name, table in tables.items():
        schemas[f"{name}_values"] = _object({f: _value(table.columns[f]) for f in feature_names(table)}, required=False)
        paths[f"/v1/features/{name}/{{player_id}}"] = {"get": _one(name, table)}
        paths[f"/v1/features/{name}:batch"] = {"post": _batch(name, table)}
        if with_history:
            paths[f"/v1/features/{name}:historical"] = {"post": _historical(name, table)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Feature API",
            "version": "1",
            "description": "Player features: the newest ones by player, and those of the past by player and moment.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _one(name: str, table: type[Table]) -> dict[str, Any]:
    answer = {"feature_set": {"const": name}, "player_id": PLAYER_ID} | PROVENANCE
    answer["features"] = {"$ref": f"#/components/schemas/{name}_values"}
    description = f"The newest features of one player. {table.table_description()}"
    player = {"name": "player_id", "in": "path", "required": True, "schema": PLAYER_ID, "example": "player-1"}
    parameters = [player, _chosen(table)]
    return _operation(f"{name}_of_one_player", description, _object(answer)) | {"parameters": parameters}


def _batch(name: str, table: type[Table]) -> dict[str, Any]:
    names = {"type": "array", "minItems": 1, "items": {"enum": list(feature_names(table))}}
    players = {"type": "array", "minItems": 1, "maxItems": MOST_IDS, "items": PLAYER_ID}
    asked = {"type": "object", "required": ["player_ids"], "additionalProperties": False,
             "properties": {"player_ids": players, "features": names}}  # fmt: skip
    found = {"player_id": PLAYER_ID, "found": {"const": True}} | PROVENANCE
    found["values"] = {"type": "array", "description": "In the order of `features` of the answer."}
    missing = _object({"player_id": PLAYER_ID, "found": {"const": False}})
    vectors = {"type": "array", "items": {"oneOf": [_object(found), missing]}}
    answer = _object({"feature_set": {"const": name}, "features": names, "vectors": vectors})
    description = f"The newest features of up to {MOST_IDS:,} players, all of one snapshot, in the order asked for."
    example = {"player_ids": ["player-1", "player-2"], "features": list(feature_names(table))[:2]}
    body = {"required": True, "content": {JSON: {"schema": asked, "example": example}}}
    return _operation(f"{name}_of_many_players", description, answer, with_body=True) | {"requestBody": body}


def _historical(name: str, table: type[Table]) -> dict[str, Any]:
    description = (
        "Features as they were known at given moments. The body is an Arrow IPC stream with `player_id` (text) and "
        "`event_timestamp` (timestamp with time zone); the answer has the same rows in the same order, with features."
    )
    stream = {"content": {ARROW: {"schema": {"type": "string", "contentMediaType": ARROW}}}}
    operation = _operation(f"{name}_of_the_past", description, {}, with_body=True)
    operation["responses"]["200"] = {"description": "Arrow IPC stream."} | stream
    known_at = {
        "name": "known_at",
        "in": "query",
        "description": "A column of the body: the moment as of which corrections count. Without it, as known now.",
        "schema": {"type": "string", "minLength": 1},
    }
    return operation | {"parameters": [_chosen(table), known_at], "requestBody": {"required": True} | stream}


def _chosen(table: type[Table]) -> dict[str, Any]:
    return {
        "name": "features",
        "in": "query",
        "description": "Names, separated by commas; all features without it.",
        "style": "form",
        "explode": False,
        "schema": {"type": "array", "minItems": 1, "items": {"enum": list(feature_names(table))}},
    }


def _operation(name: str, description: str, answer: Mapping[str, Any], with_body: bool = False) -> dict[str, Any]:
    problem = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    statuses = list(PROBLEMS) if with_body else WITHOUT_BODY
    responses: dict[str, Any] = {"200": {"description": "Found.", "content": {JSON: {"schema": answer}}}}
    responses |= {str(status): {"description": PROBLEMS[status], "content": problem} for status in statuses}
    return {"operationId": name, "description": description, "responses": responses}


def _object(properties: Mapping[str, Any], required: bool = True) -> dict[str, Any]:
    schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return schema | ({"required": list(properties)} if required else {})


def _value(column: Column) -> dict[str, Any]:
    """JSON schema of one value; null is always possible, because NaN and infinity become null."""
    wire = wire_type(column.dtype)
    kind = "integer" if wire.is_integer() else "number" if wire.is_float() else "string"
    kind = "boolean" if isinstance(wire, pl.Boolean) else "array" if isinstance(wire, pl.List) else kind
    schema: dict[str, Any] = {"type": [kind, "null"], "description": column.description}
    return schema | ({"x-unit": column.unit} if column.unit else {})


_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "remedy": {"type": "string"},
        "near_misses": {"type": "array", "items": {"type": "string"}},
    },
}
_ONLINE = {"oneOf": [{"type": "null"}, _object(PROVENANCE | {"players": {"type": "integer", "minimum": 0}})]}
_CATALOGUE = _object(
    {
        "feature_sets": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "features", "online"],
                "properties": {
                    "name": {"type": "string"},
                    "features": {"type": "array", "items": {"type": "object", "required": ["name", "type"]}},
                    "online": _ONLINE,
                },
            },
        }
    }
)
