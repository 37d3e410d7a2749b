"""The page of graphs and its address. It is whole as the server sends it, and has no script; a tenant sees its own
graphs, and nothing of how the platform does. Not here: what is on a picture (pictures), who may come in (app)."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import ChoiceLoader, Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from data_platform.core.contract.graphs import GraphView
from data_platform.core.errors import PlatformError, counted
from data_platform.core.faults import known_fault
from data_platform.core.http.problems import Problem
from data_platform.observability.health.pages import Pages
from data_platform.observability.health.text import visible_start
from data_platform.web.graphs.drawing import draw, number_of, swatch
from data_platform.web.graphs.pictures import Choice, GraphPicture, Pictures
from data_platform.web.query.tables import TenantTables
from data_platform.web.reach import reach_of

PREFIX = "/graphs"
MOST_KEYS = 12


class GraphPages:
    """Answers `/graphs`: operators in the frame of the health page, tenants in one of their own."""

    def __init__(self, frame: Pages, views: Sequence[GraphView]) -> None:
        self.frame = frame
        tables = TenantTables(frame.collector.lake)
        self.pictures = {view.slug: Pictures(view, tables) for view in views}
        own = PackageLoader("data_platform.web.graphs")
        assert frame.templates.loader is not None
        self.templates: Environment = frame.templates.overlay(loader=ChoiceLoader([own, frame.templates.loader]))
        self.templates.filters |= {"swatch": swatch, "number_of": number_of, "cut_short": _cut_short}

    def routes(self) -> list[Route]:
        return [
            Route(PREFIX, self.page),
            Route(f"{PREFIX}/{{graph}}", self.page),
        ]

    def page(self, request: Request) -> Response:
        """One graph: `?of=TENANT/SCOPE`, each percent-encoded; the largest where none is named."""
        reach = reach_of(request)
        operator = reach.tenant is None
        slug = request.path_params.get("graph") or next(iter(self.pictures), None)
        pictures = self.pictures.get(slug or "")
        snapshot = self.frame.collector.current()
        if pictures is None and not operator:
            return PlainTextResponse("There is no such graph.\n", 404)
        if pictures is None:
            return self.frame.page(request, "missing.html", snapshot, status=404)
        choice: Choice | None = None
        picture: GraphPicture | None = None
        choices: list[Choice] = []
        fault = None
        try:
            choice, choices = pictures.choice(request.query_params.get("of", ""), reach), pictures.choices(reach)
            picture = pictures.of(choice, reach) if choice else None
        except Problem as problem:
            return PlainTextResponse(f"{problem}\n", problem.status)
        except Exception as error:
            fault = error if isinstance(error, PlatformError) else known_fault(error)
            if fault is None:
                raise
        view = pictures.view
        return self.frame.page(
            request,
            self.templates.get_template("graphs.html"),
            snapshot,
            operator=operator,
            view=view,
            views=[one.view for one in self.pictures.values()],
            here=f"{PREFIX}/{view.slug}",
            choices=choices,
            choice=choice,
            picture=picture,
            svg=draw(picture, *_in_words(view, choice, picture)) if picture and choice and picture.nodes else None,
            keys=list(picture.groups().items())[:MOST_KEYS] if picture else [],
            fault=(str(fault) if operator else "") if fault else None,
        )


def _cut_short(text: str) -> str:
    """For an option, which holds no tags."""
    return visible_start(text, 60)


def _in_words(view: GraphView, choice: Choice, picture: GraphPicture) -> tuple[str, str]:
    """What stands for the picture where it is not seen."""
    of = _cut_short(choice.scope or choice.tenant)
    told = f"{counted(len(picture.nodes), 'node')}, {counted(len(picture.ends), 'edge')}, "
    return (
        f"{view.title} of {of}",
        told + f"{counted(len(picture.groups()), 'group')}; each is told in the table below.",
    )
