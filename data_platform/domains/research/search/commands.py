"""The command that searches what was said: `research search`. Not here: how it is found (domains/research/search)."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from data_platform.core.contract.calendar import end_of, midnight
from data_platform.core.terminal import AsJson, cell, day_option, days_from_to, err, out, print_json

if TYPE_CHECKING:
    from data_platform.domains.research.search.searching import Hit

LONGEST_SHOWN = 160
"""Characters of a hit's line on the screen; --json has all of it."""


def search(
    query: Annotated[str, typer.Argument(metavar="TEXT", help="In any language; others are found too.")],
    project: Annotated[list[str] | None, typer.Option(metavar="PROJECT", help="Of this project; repeatable.")] = None,
    persona: Annotated[list[str] | None, typer.Option(metavar="PERSONA", help="Of this persona; repeatable.")] = None,
    discussion: Annotated[
        list[str] | None, typer.Option(metavar="DISCUSSION", help="Of this discussion; repeatable.")
    ] = None,
    survey: Annotated[list[str] | None, typer.Option(metavar="SURVEY", help="Of this survey; repeatable.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="`event`, `answer`, `persona`, `concept` or `question`; repeatable; the first three without it.",
        ),
    ] = None,
    since: Annotated[dt.datetime | None, day_option("--from", "Said on this day or later (UTC).")] = None,
    until: Annotated[dt.datetime | None, day_option("--to", "Said on this day or earlier (UTC).")] = None,
    tenant: Annotated[list[str] | None, typer.Option(metavar="TENANT", help="Whose texts; repeatable.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many to show, the best first.")] = 10,
    by: Annotated[str, typer.Option(metavar="WAY", help="`hybrid`, `meaning` or `words`.")] = "hybrid",
    as_json: AsJson = False,
) -> None:
    """Find what was said or answered about something, or who personas are: by meaning and by words."""
    from data_platform.core.lake.store import configured_lake
    from data_platform.domains.research.search.searching import Question, Searcher

    first, last = days_from_to(since, until)
    # The last day there is has none after it, and nothing is said later.
    after = end_of(last) if last and last < dt.date.max else None
    question = Question(
        query, top, tuple(project or ()), tuple(persona or ()), tuple(discussion or ()), tuple(survey or ()),
        tuple(kind or ()), midnight(first) if first else None, after, by,
    )  # fmt: skip
    found = Searcher(configured_lake()).search(question, tenant)
    if found.note:
        err.print(Text(found.note), soft_wrap=True)
    if as_json:
        print_json([dataclasses.asdict(hit) for hit in found.hits])
        return
    for number, hit in enumerate(found.hits, 1):
        out.print(Text(f"{number:>3} ") + Text(_where(hit), "dim"), soft_wrap=True)
        if hit.asked:
            out.print(cell(f"    {hit.asked}", LONGEST_SHOWN), style="dim", soft_wrap=True)
        out.print(cell(f"    {hit.text}", LONGEST_SHOWN), soft_wrap=True)
    if not found.hits:
        out.print("Nothing was found.")


def _where(hit: Hit) -> str:
    """A hit's place in a line: how near it is, who said it where."""
    near = "by words" if hit.similarity is None else f"{hit.similarity:.2f}"
    place = hit.text_kind
    if hit.discussion_id:
        place = f"{hit.discussion_id}, event {hit.sequence} ({hit.event_type})"
    elif hit.survey_id:
        place = f"{hit.survey_id}, question {hit.question_id}" + (f" ({hit.answer_id})" if hit.answer_id else "")
    who = hit.persona_id or ("moderator" if hit.discussion_id else hit.user_id or "–")
    return f"{near}  {who}  {place}, {hit.said_at:%Y-%m-%d %H:%M}, {hit.project_id or 'no project'}"
