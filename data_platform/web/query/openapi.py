"""The OpenAPI 3.1 document of the query API, made from the declared queries. Not here: answering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data_platform.core.contract.queries import DAY, MONTH, Measure, Query, Statement, Sum
from data_platform.core.http.endpoints import Endpoint
from data_platform.core.http.problems import JSON, PROBLEM
from data_platform.web.query.export import STREAMED
from data_platform.web.query.questions import FORMATS, LIMIT, LONGEST_VALUE, MOST_ROWS, MOST_SKIPPED

PROBLEMS = {
    400: "The request is malformed.",
    401: "No token, or one that is not known.",
    403: "Another tenant or project is asked for than the token is for.",
    404: "There is nothing at this address.",
    405: "Another method than the one of this address.",
    406: "None of the formats asked for is written here.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not JSON, or compressed.",
    421: "Without tokens the API answers this machine alone.",
    422: "The request names what does not exist, or what no table answers.",
    429: "More requests than the token may make; `Retry-After` says when to come back.",
    503: "The tables cannot be read, or too many exports are being written.",
}
EXACT = {"type": ["string", "null"], "pattern": "^-?[0-9]+(\\.[0-9]+)?$"}


def document(queries: Sequence[Query], endpoints: Sequence[Endpoint] = ()) -> dict[str, Any]:
    """The document of these alone: what holders of query tokens see."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Query API",
            "version": "1",
            "description": "Sums over periods, and all rows of them. A token sees its tenant or projects alone.",
        },
        "paths": paths(queries, endpoints),
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


def paths(queries: Sequence[Query], endpoints: Sequence[Endpoint] = ()) -> dict[str, Any]:
    """The paths, for documents of all that a server answers."""
    found: dict[str, Any] = {}
    for query in queries:
        found[f"/v1/{query.name}"] = {"get": _asked(query)}
        found[f"/v1/{query.name}/export"] = {"get": _exported(query)}
        for statement in query.statements:
            found[f"/v1/{query.name}/{statement.name}"] = {"get": _stated(query, statement)}
    for endpoint in endpoints:
        found[f"/v1/{endpoint.name}"] = {"post": _posted(endpoint)}
    return found


def _posted(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "operationId": f"post_{endpoint.name}",
        "summary": endpoint.description,
        "requestBody": {"required": True, "content": {JSON: {"schema": endpoint.request}}},
        "responses": {
            "200": {"description": "What was found.", "content": {JSON: {"schema": endpoint.response}}},
            **_problems(408, 413, 415),
        },
    }


def _asked(query: Query) -> dict[str, Any]:
    names = [measure.name for measure in query.measures]
    columns = [*query.dimensions, DAY, MONTH, *names]
    parameters = [
        _listed(
            "group_by", "What rows are told apart by; money also by its currency.", [*query.dimensions, DAY, MONTH]
        ),
        _listed("measures", f"What is measured; {', '.join(query.shown)} without it.", names),
        *_period(),
        *_filters(query, query.filterable),
        {
            "name": "order",
            "in": "query",
            "description": "Columns of the answer, separated by commas, each with - before it for the greatest first.",
            "schema": {"type": "string"},
            "example": f"-{query.shown[0]}",
        },
        {
            "name": "limit",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": LIMIT},
        },
        {
            "name": "offset",
            "in": "query",
            "description": "Rows to pass over. Pages are of one answer while their `as_of` is the same.",
            "schema": {"type": "integer", "minimum": 0, "maximum": MOST_SKIPPED, "default": 0},
        },
        _format([*FORMATS]),
    ]
    row = {measure.name: _measured(query, measure) for measure in query.measures}
    row |= {name: {"type": "string", "description": text} for name, text in query.dimensions.items()}
    row |= {name: {"type": "string", "format": "date"} for name in (DAY, MONTH)}
    answer = {
        "type": "object",
        "required": ["query", "from", "to", "as_of", "truncated", "rows"],
        "properties": {
            "query": {"const": query.name},
            "from": {"type": "string", "format": "date"},
            "to": {"type": "string", "format": "date"},
            "as_of": {
                "type": "object",
                "description": "Table → version of its commit.",
                "additionalProperties": {"type": ["integer", "null"]},
            },
            "truncated": {
                "type": "boolean",
                "description": "There are more rows behind these: ask with a greater `offset`.",
            },
            "rows": {
                "type": "array",
                "items": {"type": "object", "properties": row, "propertyNames": {"enum": columns}},
            },
        },
    }
    types = [FORMATS[name] for name in FORMATS if name != "json"]
    content = {FORMATS["json"]: {"schema": answer}} | {media_type: {"schema": {}} for media_type in types}
    return _operation(query.name, query.description, parameters, content)


def _exported(query: Query) -> dict[str, Any]:
    names = [name for name in query.filterable if name in query.rows.columns]
    parameters = [*_period(), *_filters(query, names), _format([*STREAMED])]
    content: dict[str, Any] = {media_type: {"schema": {}} for media_type in STREAMED.values()}
    description = f"All rows of {query.rows.key} of the period, as a stream. {query.rows.table_description()}"
    return _operation(f"{query.name}_export", description, parameters, content)


def _stated(query: Query, statement: Statement) -> dict[str, Any]:
    month = _period()[-1] | {"required": True, "description": "The month."}
    parameters = [month, *_filters(query, [query.tenant]), _format([*STREAMED])]
    content: dict[str, Any] = {media_type: {"schema": {}} for media_type in STREAMED.values()}
    return _operation(f"{query.name}_{statement.name}", statement.description, parameters, content)


def _operation(name: str, description: str, parameters: list[Any], content: dict[str, Any]) -> dict[str, Any]:
    headers = {
        "x-as-of": {"description": "Tables and versions that were read.", "schema": {"type": "string"}},
        "etag": {"schema": {"type": "string"}},
    }
    responses: dict[str, Any] = {"200": {"description": "The rows.", "headers": headers, "content": content}}
    responses["304"] = {"description": "Nothing changed since the answer whose ETag If-None-Match names."}
    responses |= _problems(406)
    return {
        "operationId": f"query_{name}",
        "summary": description.split(". ")[0].rstrip(".") + ".",
        "description": description,
        "parameters": parameters,
        "responses": responses,
    }


def _problems(*further: int) -> dict[str, Any]:
    """What can be wrong at every address, and `further` at this one."""
    problem = {"type": "object", "required": ["type", "title", "status", "detail"]}
    return {
        str(status): {"description": PROBLEMS[status], "content": {PROBLEM: {"schema": problem}}}
        for status in sorted({400, 401, 403, 404, 405, 421, 422, 429, 503, *further})
    }


def _measured(query: Query, measure: Measure) -> dict[str, Any]:
    described = {"description": query.described(measure)}
    if query.is_money(measure):
        return EXACT | described
    return ({"type": "integer"} if isinstance(measure, Sum) else {"type": ["integer", "null"]}) | described


def _period() -> list[dict[str, Any]]:
    day = {"type": "string", "format": "date"}
    return [
        {
            "name": "from",
            "in": "query",
            "description": "First UTC day; the first of this month without.",
            "schema": day,
        },
        {"name": "to", "in": "query", "description": "Last UTC day, included; today without.", "schema": day},
        {
            "name": "month",
            "in": "query",
            "description": "A whole month, in place of from and to.",
            "schema": {"type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$"},
        },
    ]


def _filters(query: Query, names: Sequence[str]) -> list[dict[str, Any]]:
    value = {"type": "string", "maxLength": LONGEST_VALUE}
    return [
        {
            "name": name,
            "in": "query",
            "description": f"{query.dimensions[name]} Repeatable: rows with any of the values, exactly as written.",
            "style": "form",
            "explode": True,
            "schema": {"type": "array", "items": value},
        }
        for name in names
    ]


def _listed(name: str, description: str, known: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "style": "form",
        "explode": False,
        "schema": {"type": "array", "items": {"enum": list(known)}},
    }


def _format(names: Sequence[str]) -> dict[str, Any]:
    return {"name": "format", "in": "query", "description": "In place of Accept.", "schema": {"enum": list(names)}}
