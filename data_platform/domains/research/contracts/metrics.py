"""Contracts of research's marts by day and week: who is active, who comes back, how healthy projects are, how diverse
their personas, what their language models cost. Computed by the dbt models of the same names.
Not here: facts and dimensions (star), what surveys and focus groups found (findings)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from data_platform.core.contract.table import column
from data_platform.domains.metering.contracts.costs import TenantDailyCosts
from data_platform.domains.metering.contracts.prices import PRICE_DECIMALS
from data_platform.domains.research.contracts.activity import DAILY
from data_platform.domains.research.contracts.discussions import DiscussionEvents
from data_platform.domains.research.contracts.registry import (
    FocusGroupChanges,
    PersonaChanges,
    ResearchProjectChanges,
    ResearchUserChanges,
    SurveyChanges,
)
from data_platform.domains.research.contracts.star import FactPersonaInteractions, Modelled, UserActivityDays

PROJECT = "Tenant and project, `tenant/project`: what names a project among those of all tenants."
ACTIVE_DAYS = 30
"""Days in which an interaction makes a persona active; the same in dbt/dbt_project.yml."""
COHORT_WEEKS = 12
"""Weeks after the week of signup that a cohort is followed; the same in dbt/dbt_project.yml."""
COHORT_CLOSES = 28
"""Days after its last week in which anything that is done has a cohort computed again, so that this week gets its
number: as long as a studio may be on holiday."""
HEALTH_WEIGHTS = {"completion": 40, "engagement": 30, "recency": 30}
"""Points of each part of a project's health, of 100; the same in dbt/dbt_project.yml."""
DONE = {"focus group": "completed", "survey": "closed"}
"""The status that a study has when it is done; the same in dbt/dbt_project.yml."""


class OfProject(Modelled):
    """A row about a project of a tenant."""

    project_id: str = column("The project.", min_length=1)
    project: str = column(PROJECT)


class DailyActivePersonas(OfProject):
    """Active personas of each day: one row per UTC day and project in which anything was done in the 30 days ending
    with it. An active persona is one that anybody created, edited, discussed with or surveyed."""

    key = "research/daily_active_personas"
    partition = "activity_date"
    primary_key = ("activity_date", "tenant_id", "project_id")
    fresh = DAILY

    activity_date: dt.date = column("UTC day.", derived_from=[FactPersonaInteractions.interaction_date])
    active_personas: int = column(
        "Personas with an interaction on the day.",
        unit="personas",
        ge=0,
        derived_from=[FactPersonaInteractions.persona_id],
    )
    weekly_active_personas: int = column(
        "Personas with one in the 7 days ending with it.",
        unit="personas",
        ge=0,
        derived_from=[FactPersonaInteractions.persona_id],
    )
    monthly_active_personas: int = column(
        "Personas with one in the 30 days ending with it.",
        unit="personas",
        ge=1,
        derived_from=[FactPersonaInteractions.persona_id],
    )
    last_active_date: dt.date = column(
        "The last day up to it with an interaction.", derived_from=[FactPersonaInteractions.interaction_date]
    )
    interactions: int = column(
        "Interactions of the day.", unit="interactions", ge=0, derived_from=[FactPersonaInteractions.interaction_id]
    )
    created: int = column(
        "Of them those that created a persona.", ge=0, derived_from=[FactPersonaInteractions.interaction_type]
    )
    edited: int = column("Those that changed one.", ge=0, derived_from=[FactPersonaInteractions.interaction_type])
    discussed: int = column(
        "Those that were discussions with one.", ge=0, derived_from=[FactPersonaInteractions.interaction_type]
    )
    surveyed: int = column("Those that surveyed one.", ge=0, derived_from=[FactPersonaInteractions.interaction_type])


class WeeklyRetentionCohorts(Modelled):
    """Who comes back: one row per week of signup and tenant, filed under the last day of the week, on which the
    cohort is complete. A user signs up in the week (Monday to Sunday, UTC) of `signed_up_at`, as told by the end of
    it, where that is also the week in which the platform first heard of them; who had signed up before is in no
    cohort. A week's share is of the users with an interaction in the calendar week so many weeks after that of signup;
    null until that week is over."""

    key = "research/weekly_retention_cohorts"
    partition = "week_end"
    primary_key = ("week_end", "tenant_id")
    profiled = False  # a cohort's numbers come in over twelve weeks

    week_end: dt.date = column(
        "Sunday of the week of signup.", derived_from=[ResearchUserChanges.signed_up_at, ResearchUserChanges.changed_at]
    )
    cohort_week: dt.date = column("Monday of that week.", derived_from=[ResearchUserChanges.signed_up_at])
    cohort_users: int = column("Users who signed up.", unit="users", ge=1, derived_from=[ResearchUserChanges.user_id])
    week_0: float | None = column(
        "Share active in the week of signup.", ge=0, le=1, derived_from=[UserActivityDays.user_id]
    )
    week_1: float | None = column("… in the week after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])
    week_2: float | None = column("… two weeks after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])
    week_3: float | None = column("… three weeks after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])
    week_4: float | None = column("… four weeks after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])
    week_5: float | None = column("… five weeks after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])
    week_6: float | None = column("… six weeks after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])
    week_7: float | None = column("… seven weeks after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])
    week_8: float | None = column("… eight weeks after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])
    week_9: float | None = column("… nine weeks after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])
    week_10: float | None = column("… ten weeks after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])
    week_11: float | None = column("… eleven weeks after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])
    week_12: float | None = column("… twelve weeks after.", ge=0, le=1, derived_from=[UserActivityDays.user_id])


class ProjectHealthScores(OfProject):
    """How a project is doing at the end of each day: one row per UTC day and project that is not deleted by then.

    `health_score` = 40 × `completion` + 30 × `engagement` + 30 × `recency`, of 100. Each part is from 0 to 1;
    where there is nothing to share out, as completion of a project without studies, it is 0."""

    key = "research/project_health_scores"
    partition = "score_date"
    primary_key = ("score_date", "tenant_id", "project_id")
    fresh = DAILY

    score_date: dt.date = column("UTC day.")
    studies: int = column(
        "Focus groups and surveys that the project has.",
        unit="studies",
        ge=0,
        derived_from=[FocusGroupChanges.focus_group_id, SurveyChanges.survey_id],
    )
    completed_studies: int = column(
        "Focus groups that are `completed`, and surveys that are `closed`.",
        unit="studies",
        ge=0,
        derived_from=[FocusGroupChanges.status, SurveyChanges.status],
    )
    personas: int = column(
        "Personas made for the project.", unit="personas", ge=0, derived_from=[PersonaChanges.persona_id]
    )
    active_personas: int = column(
        "Personas with an interaction in the project in the 30 days ending with the day.",
        unit="personas",
        ge=0,
        derived_from=[DailyActivePersonas.monthly_active_personas],
    )
    days_since_active: int | None = column(
        "Days since the last interaction; null after 30 days without one.",
        unit="days",
        ge=0,
        derived_from=[DailyActivePersonas.last_active_date],
    )
    completion: float = column(
        "`completed_studies` / `studies`.", ge=0, le=1, derived_from=[FocusGroupChanges.status, SurveyChanges.status]
    )
    engagement: float = column(
        "`active_personas` / `personas`, 1 at most: a project may use personas that serve several.",
        ge=0,
        le=1,
        derived_from=[DailyActivePersonas.monthly_active_personas, PersonaChanges.persona_id],
    )
    recency: float = column(
        "1 − `days_since_active` / 30: 1 on a day with an interaction, 0 after 30 days without.",
        ge=0,
        le=1,
        derived_from=[DailyActivePersonas.last_active_date],
    )
    health_score: float = column("The parts by their weights.", ge=0, le=100)


class PersonaDiversity(OfProject):
    """How diverse a project's personas are at the end of each day: one row per UTC day, project and attribute.
    Attributes are the fields of `demographics` that are text, numbers or yes and no, and `segment`; numbers are taken
    in tens (`age` 34 is `30-39`). Of `n` personas with the attribute, the share of each of `S` values being p:

    - Shannon's index H = −Σ p ln p, its evenness H / ln S;
    - Simpson's index D = 1 − Σ p², its evenness D / (1 − 1/S);
    - distance to the target t: ½ Σ |p − t| over the values of either (total variation), from 0, as wanted, to 1.

    Both evennesses are 1 where all values are equally frequent, and 0 where there is one value."""

    key = "research/persona_diversity"
    partition = "snapshot_date"
    primary_key = ("snapshot_date", "tenant_id", "project_id", "attribute")

    snapshot_date: dt.date = column("UTC day.")
    attribute: str = column("For example `gender`.", derived_from=[PersonaChanges.demographics, PersonaChanges.segment])
    personas: int = column(
        "Personas of the project with the attribute (n).",
        unit="personas",
        ge=1,
        derived_from=[PersonaChanges.persona_id],
    )
    distinct_values: int = column("Values that they have (S).", ge=1, derived_from=[PersonaChanges.demographics])
    shannon: float = column("Shannon's index, in nats.", ge=0, derived_from=[PersonaChanges.demographics])
    shannon_evenness: float = column("H / ln S.", ge=0, derived_from=[PersonaChanges.demographics])
    simpson: float = column("Simpson's index.", ge=0, le=1, derived_from=[PersonaChanges.demographics])
    simpson_evenness: float = column("D / (1 − 1/S).", ge=0, derived_from=[PersonaChanges.demographics])
    target_distance: float | None = column(
        "Distance of the personas from whom the project wants to hear; null where it says nothing of the attribute.",
        ge=0,
        derived_from=[PersonaChanges.demographics, ResearchProjectChanges.target_demographics],
    )


class ProjectDiversity(OfProject):
    """Diversity in a few numbers: one row per UTC day and project, the mean over its attributes."""

    key = "research/project_diversity"
    partition = "snapshot_date"
    primary_key = ("snapshot_date", "tenant_id", "project_id")
    fresh = DAILY

    snapshot_date: dt.date = column("UTC day.")
    attributes: int = column("Attributes that its personas have.", ge=1, derived_from=[PersonaDiversity.attribute])
    shannon_evenness: float = column("Mean of Shannon's evenness.", ge=0)
    simpson_evenness: float = column("Mean of Simpson's evenness.", ge=0)
    target_distance: float | None = column("Mean distance to the target, of attributes that have one.", ge=0)


class ProjectLlmCosts(OfProject):
    """What language models cost a project: one row per UTC day, project, feature and currency with calls. Calls are
    the project's that name its `project_id` (metering/tenant_daily_costs); other projects than research's are not
    here."""

    key = "research/project_llm_costs"
    partition = "usage_date"
    primary_key = ("usage_date", "tenant_id", "project_id", "feature", "currency")

    usage_date: dt.date = column("UTC day of the calls.")
    feature: str = column("What of the product called, for example `focus_group`; empty where calls name none.")
    currency: str = column("ISO 4217 code; empty for calls without a price.")
    calls: int = column("Billed calls.", unit="calls", ge=0)
    unpriced_calls: int = column("Of them those without a price, whose cost is missing here.", unit="calls", ge=0)
    total_tokens: int = column("Tokens that are billed.", unit="tokens", ge=0)
    cost: Decimal = column("What they cost, exact.", decimals=PRICE_DECIMALS)
    discussions: int = column(
        "Discussions of the project that were held: those with an event on the day.",
        unit="discussions",
        ge=0,
        derived_from=[DiscussionEvents.discussion_id],
    )
    cost_per_discussion: Decimal | None = column(
        "What a discussion cost: `cost` / `discussions`, to a millionth, rounded down; null on a day without any.",
        decimals=6,
        derived_from=[TenantDailyCosts.cost, DiscussionEvents.discussion_id],
    )
