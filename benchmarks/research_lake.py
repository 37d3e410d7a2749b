"""A year of a made-up research studio in the lake, as if it had been received and cleaned: 33,000 interactions a day
with 10,000 personas. Belongs here: clean tables. Not here: what is computed of them, measuring (research_marts)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from benchmarks.made_up import moments, numbered, picked, rows_of
from benchmarks.research import events_of_others
from data_platform.core.contract.table import Table
from data_platform.core.lake.store import Lake
from data_platform.domains.commerce.contracts.sources import RawUserChanges
from data_platform.domains.metering.contracts.costs import TenantDailyCosts, UsageCosts
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.research.contracts import activity, discussions, registry
from data_platform.domains.research.transforms.discussions import discussion_states

PERSONAS_A_PROJECT, PERSONAS_A_USER, TENANTS = 50, 5, 10
EDITED_EVERY = 4
"""One persona in so many is edited once, on some day."""
EVENT_DAYS, EVENTS_A_PERSONA = 30, 10
"""Days with discussions, and events of theirs in a month."""
ATTRIBUTES = {"gender": 3, "age": 60, "region": 16, "education": 5}
Tell = Callable[[str, int, int], None]


def fill(lake: Lake, days: list[dt.date], interactions: int, personas: int, tell: Tell) -> None:
    """All that the models read; interactions of every day."""
    random = np.random.default_rng(1)
    projects, users = max(personas // PERSONAS_A_PROJECT, TENANTS), personas // PERSONAS_A_USER
    _write(lake, registry.PersonaChanges, _personas(random, days, personas, projects))
    _write(lake, registry.ResearchProjectChanges, _projects(days[0], projects))
    _write(lake, registry.ResearchUserChanges, _users(random, days, users, projects))
    _write(lake, registry.FocusGroupChanges, _studies(random, days, projects, registry.FocusGroupChanges))
    _write(lake, registry.SurveyChanges, _studies(random, days, projects, registry.SurveyChanges))
    _write(lake, registry.SurveyQuestionChanges, _questions(days[0], projects))
    _write(lake, activity.SurveyAnswers, _answers(random, days[-1], personas, projects))
    _write(lake, RawUserChanges, _shop(days[0], users))
    _write(lake, TenantDailyCosts, _costs(days[-1], projects))
    for table in (LlmUsage, UsageCosts):
        _write(lake, table, _calls(table, days[-1], projects))
    for number, day in enumerate(days):
        tell("interactions", number, len(days))
        _write(lake, activity.PersonaInteractions, _interactions(random, day, interactions, personas, users, projects))
    first = len(days) - EVENT_DAYS
    events = pl.concat(
        [events_of_others(day, personas * EVENTS_A_PERSONA // EVENT_DAYS) for day in range(first, len(days))]
    )
    _write(lake, discussions.DiscussionEvents, events)
    _write(lake, discussions.Discussions, discussion_states(events.lazy()).collect())


def _write(lake: Lake, table: type[Table], frame: pl.DataFrame) -> None:
    lake.append(table, frame)


def _tenant(project: Any) -> pl.Series:
    return numbered("tenant-", np.asarray(project) % TENANTS, 2)


def _project(number: Any) -> pl.Series:
    return numbered("project-", number, 4)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _on_days(random: Any, first: dt.date, last: int, count: int) -> pl.Series:
    """Moments of any of the days."""
    late = pl.Series(random.integers(0, last, count) * 86_400_000_000).cast(pl.Duration("us"))
    return moments(random, first, count) + late


def _personas(random: Any, days: list[dt.date], count: int, projects: int) -> pl.DataFrame:
    edited = np.arange(0, count, EDITED_EVERY)
    number = np.concatenate([np.arange(count), edited])
    values = [random.integers(0, most, count) for most in ATTRIBUTES.values()]
    people = [
        "{" + ",".join(f'"{name}":"{name}-{value}"' for name, value in zip(ATTRIBUTES, row, strict=True)) + "}"
        for row in zip(*values, strict=True)
    ]
    made = pl.Series([_midnight(days[0])] * count, dtype=pl.Datetime("us", "UTC"))
    later = _on_days(random, days[0] + dt.timedelta(1), len(days) - 1, len(edited))
    at = pl.concat([made, later])
    return rows_of(
        registry.PersonaChanges, change_date=at.dt.date(), changed_at=at,
        operation=pl.Series(["insert"] * count + ["update"] * len(edited)), tenant_id=_tenant(number % projects),
        persona_id=numbered("persona-", number, 6), project_id=_project(number % projects),
        name=numbered("Name ", number, 6), segment=numbered("segment-", number % 7, 1),
        demographics=pl.Series(people).gather(number), background=numbered("Story ", np.arange(len(number)), 6),
    )  # fmt: skip


def _projects(first: dt.date, count: int) -> pl.DataFrame:
    number = np.arange(count)
    target = '{"gender":{"gender-0":0.5,"gender-1":0.4,"gender-2":0.1},"region":{"region-0":0.2,"region-1":0.8}}'
    return rows_of(
        registry.ResearchProjectChanges, change_date=first, changed_at=_midnight(first), operation="insert",
        tenant_id=_tenant(number), project_id=_project(number), status="active", target_demographics=target,
    )  # fmt: skip


def _users(random: Any, days: list[dt.date], count: int, projects: int) -> pl.DataFrame:
    number, at = np.arange(count), _on_days(random, days[0], len(days), count)
    return rows_of(
        registry.ResearchUserChanges, change_date=at.dt.date(), changed_at=at, signed_up_at=at, operation="insert",
        tenant_id=_tenant(number % projects), user_id=numbered("user-", number, 6),
    )  # fmt: skip


def _studies(random: Any, days: list[dt.date], projects: int, table: type[Table]) -> pl.DataFrame:
    """Ten of each project; half of them are done."""
    number = np.arange(10 * projects)
    at = _on_days(random, days[0], len(days), len(number))
    done = "completed" if table is registry.FocusGroupChanges else "closed"
    named = {str(table.primary_key[2]): numbered("study-", number, 6)}
    return rows_of(
        table, change_date=at.dt.date(), changed_at=at, operation="insert", tenant_id=_tenant(number % projects),
        project_id=_project(number % projects), status=picked(random, len(number), "planned", done), **named,
    )  # fmt: skip


def _questions(first: dt.date, projects: int) -> pl.DataFrame:
    number = np.arange(projects)
    kinds = {"q1": "single_choice", "q2": "rating_scale", "q3": "open_text"}
    return pl.concat([
        rows_of(
            registry.SurveyQuestionChanges, change_date=first, changed_at=_midnight(first), operation="insert",
            tenant_id=_tenant(number), survey_id=numbered("survey-", number, 4), question_id=question,
            project_id=_project(number), question_type=kind, position=position, scale_min=1, scale_max=5,
            options='{"options":["a","b","c","d"]}',
        )
        for position, (question, kind) in enumerate(kinds.items(), 1)
    ])  # fmt: skip


def _answers(random: Any, day: dt.date, personas: int, projects: int) -> pl.DataFrame:
    number = np.arange(personas)
    given: dict[str, dict[str, Any]] = {
        "q1": {"choice": picked(random, personas, "a", "b", "c")},
        "q2": {"rating": pl.Series(random.integers(1, 6, personas)).cast(pl.Float64)},
        "q3": {"text": picked(random, personas, "It saves me time.", "I like the story, and friends play it too.")},
    }
    return pl.concat([
        rows_of(
            activity.SurveyAnswers, answer_date=day, tenant_id=_tenant(number % projects),
            answer_id=numbered(f"{question}-", number, 6), survey_id=numbered("survey-", number % projects, 4),
            question_id=question, project_id=_project(number % projects), persona_id=numbered("persona-", number, 6),
            respondent_id=numbered("persona-", number, 6), answered_at=moments(random, day, personas), **answer,
        )
        for question, answer in given.items()
    ])  # fmt: skip


def _shop(first: dt.date, users: int) -> pl.DataFrame:
    """Every second user is one of the shop."""
    number = np.arange(0, users, 2)
    at = _midnight(first)
    return rows_of(
        RawUserChanges, change_date=first, user_id=numbered("user-", number, 6), plan="free", operation="insert",
        changed_at=at, source_file="made-up.ndjson", source_line=pl.Series(number), received_at=at,
    )  # fmt: skip


def _costs(day: dt.date, projects: int) -> pl.DataFrame:
    number = np.arange(projects)
    counts = dict.fromkeys(("calls", "input_tokens", "output_tokens", "total_tokens"), 100)
    none = dict.fromkeys(("failed_calls", "unpriced_calls", "cache_read_tokens"), 0)
    return rows_of(
        TenantDailyCosts, usage_date=day, tenant_id=_tenant(number), project_id=_project(number), feature="focus_group",
        provider="openai", model="gpt", user_id="", currency="USD", cost=pl.Series([Decimal("0.000123")] * projects),
        **counts, **none,
    )  # fmt: skip


def _calls(table: type[Table], day: dt.date, projects: int) -> pl.DataFrame:
    """One of a discussion of each project, as cleaned or as priced."""
    number = np.arange(projects)
    discussions = numbered("discussion-", number, 4)
    counts = {name: 0 for name in table.columns if name.endswith("_tokens")} | {"total_tokens": 100}
    facts = {"status": "ok", "reports": 1, "failed": False, "cost": pl.Series([Decimal("0.000123")] * projects)}
    return rows_of(
        table, usage_date=day, usage_id=numbered("call-", number, 4), tenant_id=_tenant(number),
        project_id=_project(number), feature="focus_group", provider="openai", model="gpt", currency="USD",
        started_at=_midnight(day), tags='{"discussion_id": "' + discussions + '"}', **facts, **counts,
    )  # fmt: skip


def _interactions(random: Any, day: dt.date, count: int, personas: int, users: int, projects: int) -> pl.DataFrame:
    """Of a tenant's users with personas of its projects."""
    persona = random.integers(0, personas, count)
    project = persona % projects
    user = random.integers(0, max(users // projects, 1), count) * projects + project
    began = moments(random, day, count)
    took = pl.Series(random.integers(1, 3000, count) * 1_000_000).cast(pl.Duration("us"))
    return rows_of(
        activity.PersonaInteractions, interaction_date=day, tenant_id=_tenant(project),
        interaction_id=numbered("i-", np.arange(count), 6), interaction_type=picked(random, count,
        *activity.INTERACTION_TYPES), persona_id=numbered("persona-", persona, 6), user_id=numbered("user-", user, 6),
        project_id=_project(project), started_at=began, ended_at=began + took,
    )  # fmt: skip
