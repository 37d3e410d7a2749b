"""Commands of research: replay, compact, search, and those of its graph. Not here: what they do (domains/research)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as Grid
from rich.text import Text

from data_platform.core.errors import counted
from data_platform.core.settings import settings
from data_platform.core.terminal import AsJson, cell, day_option, err, out, plain_rows, print_json
from data_platform.domains.research.graph.commands import export_graph, related
from data_platform.domains.research.search.commands import search

if TYPE_CHECKING:
    from data_platform.domains.research.transforms.discussion_state import State

app = typer.Typer(
    name="research", no_args_is_help=True, help="Discussions with personas: as they stand, and as they stood."
)

app.command()(search)
app.command()(related)
app.command()(export_graph)

SHOWN = ("event_type", "persona_id", "question_id", "text")
LONGEST_SHOWN = 160
"""Characters of a turn's line on the screen; --json has all of it."""


@app.callback()
def research() -> None:
    """Discussions with personas: as they stand, and as they stood."""


@app.command()
def replay(
    discussion: Annotated[str, typer.Argument(metavar="DISCUSSION", help="For example discussion-1-1.")],
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME|SEQ", help="As it stood then: a moment (UTC), or after the event of this number."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="TENANT", help="Whose discussion, where several have one of that id.")
    ] = None,
    last: Annotated[int, typer.Option(min=0, help="How many of the last events to show.")] = 5,
    as_json: AsJson = False,
) -> None:
    """See a discussion as it stands, or stood at any moment: its events folded anew."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.research.replay import last_turns, parse_until
    from data_platform.domains.research.replay import replay as replayed

    lake = configured_lake()
    point = parse_until(until) if until is not None else None
    found = replayed(lake, discussion, point, tenant)
    if isinstance(point, int) and point != found.state.last_sequence:
        err.print(f"There is no event {point}; this is as it stood after event {found.state.last_sequence}.")
    turns = plain_rows(last_turns(lake, found, last).select("sequence", "occurred_at", *SHOWN)) if last else []
    if as_json:
        print_json(_facts(found.state) | {"from_snapshot": found.from_snapshot, "last_events": turns})
        return
    grid = Grid(box=None, pad_edge=False, show_header=False)
    for name, value in _facts(found.state).items():
        grid.add_row(Text(name, "dim"), cell(_in_words(value), 1000))
    out.print(grid)
    since = f"the snapshot after event {found.from_snapshot}" if found.from_snapshot else "the start"
    out.print(f"Folded {counted(len(found.events), 'event')} from {since}.")
    for turn in turns:
        who = turn["persona_id"] or "moderator"
        line = f"{turn['sequence']:>5} {turn['event_type']:<18} {who}: {turn['text'] or ''}"
        out.print(cell(line, LONGEST_SHOWN), soft_wrap=True)


@app.command()
def compact(
    before: Annotated[dt.datetime, day_option("--before", "Discussions that ended before this day.")],
    cold: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where originals are archived; `cold` in the home if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Merge the events of discussions that ended long ago, and archive the originals. Nothing is deleted."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.research.archive import compact as compacted

    found = compacted(configured_lake(), before.date(), (cold or settings().home / "cold").absolute())
    if as_json:
        files = [str(file) for file in found.files]
        print_json({"discussions": found.discussions, "events": found.events, "files": files})
        return
    out.print(f"{counted(found.discussions, 'discussion')} of {counted(found.events, 'event')} compacted")
    for file in found.files:
        out.print(f"  {file}", soft_wrap=True)


def _facts(state: State) -> dict[str, Any]:
    return {
        "discussion": state.discussion_id,
        "tenant": state.tenant_id,
        "project": state.project_id,
        "focus_group": state.focus_group_id,
        "status": state.status,
        "started_at": state.started_at,
        "ended_at": state.ended_at,
        "events": state.events,
        "responses": state.responses,
        "followups": state.followups,
        "participants": dict(state.responses_by_persona),
        "questions": list(state.questions),
        "missing_events": state.missing_events,
        "last_event": f"{state.last_event_type} (event {state.last_sequence}, {state.last_event_at})",
    }


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{name} ({count})" for name, count in value.items()]
    return ("–" if value is None else str(value)) if not isinstance(value, list) else ", ".join(value) or "–"
