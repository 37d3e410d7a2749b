"""Contracts of research's star schema: personas and projects with their history, and what was done with which
persona. Computed by the dbt models of the same names. Not here: sums and scores (metrics), what surveys and groups
say (findings).
 A user of research who is a user of the shop too is the same person there: facts name the version in commerce's
dim_users. Who is not is in clean/research_users, by `tenant_id`, `user_id` and the moment."""

from __future__ import annotations

import datetime as dt

import polars as pl

from data_platform.core.contract.change_logs import HistoryFields
from data_platform.core.contract.table import JsonObject, Personal, Rule, Severity, TableRule, column
from data_platform.domains.commerce.contracts.star import DimUsers
from data_platform.domains.research.contracts.activity import (
    CLOCKS_DIFFER,
    DAILY,
    INTERACTION_TYPES,
    PersonaInteractions,
)
from data_platform.domains.research.contracts.registry import (
    OfTenant,
    PersonaChanges,
    ResearchProjectChanges,
    ResearchUserChanges,
)

LONGEST_SECONDS = 3600.0
"""An interaction that lasts longer was probably left open."""


class Modelled(OfTenant):
    """Base of the tables that dbt computes."""

    kind = "dbt"


class DimPersonas(HistoryFields, Modelled):
    """Personas with their history (SCD2): one row per persona and version; a deletion ends the last one. A change of
    what is not here, as of an embedding, starts no version."""

    key = "research/dim_personas"
    primary_key = ("persona_key",)

    persona_key: str = column(
        "Surrogate key: digest of tenant, persona and the start of the version.",
        min_length=1,
        derived_from=[PersonaChanges.persona_id, PersonaChanges.changed_at],
    )
    persona_id: str = column("The persona.", min_length=1)
    project_id: str | None = column("Project it was made for; null for one that serves several.")
    name: str | None = column("Invented name.")
    segment: str | None = column("Market segment it stands for.")
    demographics: JsonObject | None = column("Attribute → value.")
    background: str | None = column("Its story, in words.")
    personal_values: JsonObject | None = column("What matters to it.")
    created_at: dt.datetime | None = column("When the persona was made (UTC).")


class DimProjects(HistoryFields, Modelled):
    """Projects with their history (SCD2): one row per project and version; a deletion ends the last one."""

    key = "research/dim_projects"
    primary_key = ("project_key",)

    project_key: str = column(
        "Surrogate key: digest of tenant, project and the start of the version.",
        min_length=1,
        derived_from=[ResearchProjectChanges.project_id, ResearchProjectChanges.changed_at],
    )
    project_id: str = column("The project.", min_length=1)
    user_id: str | None = column("Who leads it.", personal=Personal.PSEUDONYM)
    name: str | None = column("What its people call it.", personal=Personal.CONTENT)
    status: str | None = column("For example `active`, `paused` or `completed`.")
    language: str | None = column("Language that its discussions are held in, ISO 639-1.")
    target_demographics: JsonObject | None = column("Attribute → value → share of the personas that is wanted.")
    created_at: dt.datetime | None = column("When the project was created (UTC).")


def _in_the_future(rows: pl.LazyFrame) -> pl.LazyFrame:
    latest = pl.max_horizontal("started_at", "ended_at")
    found = rows.filter(latest > dt.datetime.now(dt.UTC) + CLOCKS_DIFFER)
    return found.select("interaction_date", "tenant_id", "interaction_id", "started_at", "ended_at")


def _unknown_users(rows: pl.LazyFrame, known: pl.LazyFrame) -> pl.LazyFrame:
    users = ["tenant_id", "user_id"]
    return rows.select("interaction_date", *users).unique().join(known.select(users), on=users, how="anti")


class FactPersonaInteractions(Modelled):
    """What was done with personas: one row per interaction, with the versions of persona, project and person that
    held when it began. An interaction that began before the first version of its persona or project, on the same day,
    has the first one: it is what made them."""

    key = "research/fact_persona_interactions"
    partition = "interaction_date"
    primary_key = ("interaction_date", "tenant_id", "interaction_id")
    fresh = DAILY
    # Warnings: what did arrive is right, and a persona that is told of late must not hold back everybody's day.
    row_rules = (
        Rule("persona_is_known", "its persona was there, in its tenant", pl.col("persona_key").is_not_null(),
             Severity.WARNING),
        Rule("project_is_known", "its project was there, in its tenant", pl.col("project_key").is_not_null(),
             Severity.WARNING),
    )  # fmt: skip
    table_rules = (
        TableRule("user_is_known", "its user is one of the tenant's", _unknown_users,
                  {"known": ResearchUserChanges.until()}),
        # An error: what cannot have happened is rejected before it is clean, so this is a fault of ours.
        TableRule("not_in_the_future", "nothing began or ended later than now", _in_the_future,
                  severity=Severity.ERROR),
    )  # fmt: skip

    interaction_date: dt.date = column("UTC day of `started_at`.")
    interaction_id: str = column("The interaction.", min_length=1)
    interaction_type: str = column("What was done.", isin=INTERACTION_TYPES)
    persona_id: str = column("With which persona.", min_length=1)
    persona_key: str | None = column(
        "Version of the persona then, in dim_personas; null where there was none.",
        derived_from=[PersonaChanges.persona_id, PersonaChanges.changed_at],
    )
    user_id: str = column("Who did it.", personal=Personal.PSEUDONYM, min_length=1)
    user_key: str | None = column(
        "Version of the person then, in commerce's dim_users; null for who is no user of the shop.",
        derived_from=[DimUsers.user_key],
    )
    project_id: str = column("In which project.", min_length=1)
    project_key: str | None = column(
        "Version of the project then, in dim_projects; null where there was none.",
        derived_from=[ResearchProjectChanges.project_id, ResearchProjectChanges.changed_at],
    )
    discussion_id: str | None = column("Of `discussed`: the discussion.")
    survey_id: str | None = column("Of `surveyed`: the survey.")
    started_at: dt.datetime = column("When it began (UTC).")
    ended_at: dt.datetime | None = column("When it ended (UTC); null while it goes on.")
    duration_seconds: float | None = column(
        "From its beginning to its end.",
        unit="s",
        ge=0,
        le=LONGEST_SECONDS,
        severity=Severity.WARNING,
        derived_from=[PersonaInteractions.started_at, PersonaInteractions.ended_at],
    )


class UserActivityDays(Modelled):
    """Who did anything on a day: one row per day, tenant and user. Whatever rolls over weeks is summed from these."""

    key = "research/user_activity_days"
    partition = "activity_date"
    primary_key = ("activity_date", "tenant_id", "user_id")

    activity_date: dt.date = column("UTC day.", derived_from=[FactPersonaInteractions.interaction_date])
    user_id: str = column("The user.", personal=Personal.PSEUDONYM, min_length=1)
    interactions: int = column(
        "Interactions that began on the day.", ge=1, derived_from=[FactPersonaInteractions.interaction_id]
    )
    personas: int = column("With so many personas.", ge=1, derived_from=[FactPersonaInteractions.persona_id])
    projects: int = column("In so many projects.", ge=1, derived_from=[FactPersonaInteractions.project_id])
