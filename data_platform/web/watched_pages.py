"""What the pages that change while one looks have in common: their templates, the frame around them, addresses that
keep the token, and the folder of all static files of this room.
Not here: what is on a page (live/, costs/), following (watching), pages in the frame of the health page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.datastructures import QueryParams
from starlette.responses import HTMLResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from data_platform.observability.health.markup import shown
from data_platform.observability.health.words import number

RELOAD_SECONDS = 5
"""Of a browser without JavaScript."""
Link = Callable[[str], str]


def static_files() -> Mount:
    """Stylesheets and scripts of all pages of this room, uPlot among them."""
    return Mount("/static/web", StaticFiles(packages=[("data_platform.web", "static")]))


def templates(package: str) -> Environment:
    """Those of a package of this room, beside the frame."""
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("data_platform.web")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"shown": shown, "number": number}
    return found


def rendered(found: Environment, template: str, **facts: Any) -> str:
    """The text; a lone surrogate in data cannot be encoded, and is replaced."""
    text: str = found.get_template(template).render(**facts)
    return text.encode("utf-8", "replace").decode()


def page(
    found: Environment, template: str, asked: QueryParams, beside: Mapping[str, str], **facts: Any
) -> HTMLResponse:
    """A page in the frame. `beside`: addresses of other pages, with what they are called."""

    def link(path: str, **more: str) -> str:
        query = urlencode(more | ({"token": asked["token"]} if asked.get("token") else {}))
        return quote(path) + (f"?{query}" if query else "")

    return HTMLResponse(rendered(found, template, link=link, beside=beside, reload=RELOAD_SECONDS, **facts))
