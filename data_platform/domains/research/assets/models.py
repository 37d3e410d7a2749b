"""The star schema and the marts of research as assets: each is computed by the dbt model of the same name from the days
named here. Not here: the SQL (dbt/models/research), what the tables promise (contracts)."""

from __future__ import annotations

from data_platform.domains.commerce.contracts.sources import RawUserChanges
from data_platform.domains.metering.contracts.costs import TenantDailyCosts, UsageCosts
from data_platform.domains.metering.contracts.usage import LlmUsage
from data_platform.domains.research.contracts import findings, metrics, star
from data_platform.domains.research.contracts.activity import PersonaInteractions, SurveyAnswers
from data_platform.domains.research.contracts.discussions import DiscussionEvents, Discussions
from data_platform.domains.research.contracts.metrics import ACTIVE_DAYS, COHORT_CLOSES, COHORT_WEEKS
from data_platform.domains.research.contracts.registry import (
    FocusGroupChanges,
    PersonaChanges,
    ResearchProjectChanges,
    ResearchUserChanges,
    SurveyChanges,
    SurveyQuestionChanges,
)
from data_platform.warehouse.models import Model, dbt_models

models = dbt_models(
    "research_models",
    Model(star.DimPersonas, PersonaChanges),
    Model(star.DimProjects, ResearchProjectChanges),
    # Facts name the version of a dimension that held at the time; it follows from the changes up to that day.
    Model(
        star.FactPersonaInteractions,
        PersonaInteractions,
        PersonaChanges.until(),
        ResearchProjectChanges.until(),
        RawUserChanges.until(),
    ),
    Model(star.UserActivityDays, star.FactPersonaInteractions),
    Model(metrics.DailyActivePersonas, star.FactPersonaInteractions.days(1 - ACTIVE_DAYS, 0)),
    # Days after the last week are needed for no number: what is done on them comes when that week is over, and has the
    # cohort computed again. Otherwise a week computed while it was open would stay open.
    Model(
        metrics.WeeklyRetentionCohorts,
        ResearchUserChanges.until(),
        star.UserActivityDays.days(-6, 7 * COHORT_WEEKS + COHORT_CLOSES),
    ),
    Model(
        metrics.ProjectHealthScores,
        metrics.DailyActivePersonas,
        ResearchProjectChanges.until(),
        PersonaChanges.until(),
        FocusGroupChanges.until(),
        SurveyChanges.until(),
    ),
    Model(metrics.PersonaDiversity, PersonaChanges.until(), ResearchProjectChanges.until()),
    Model(metrics.ProjectDiversity, metrics.PersonaDiversity),
    Model(metrics.ProjectLlmCosts, TenantDailyCosts, ResearchProjectChanges.until(), DiscussionEvents),
    Model(
        findings.DiscussionLlmCosts,
        UsageCosts,
        LlmUsage,
        ResearchProjectChanges.until(),
        # A call is made a moment before or after its event, and midnight may lie between.
        DiscussionEvents.days(-1, 1),
    ),
    Model(findings.FocusGroupEffectiveness, DiscussionEvents, Discussions, findings.DiscussionLlmCosts),
    Model(findings.SurveyResults, SurveyAnswers, SurveyQuestionChanges),
)
