"""The landing folders of research: change capture, files and the collector write the same lines there.
Not here: how a folder is read."""

from __future__ import annotations

from data_platform.domains.research.contracts import activity, discussions, registry
from data_platform.sources.landing_source import LandingSource

# What the application knew before the first day is known on the first day: its changes are not rejected as too old.
RESEARCH_USERS = LandingSource(
    "research_users", registry.RawResearchUserChanges, registry.RawResearchUserChangesRejected, "changed_at",
    clamp_to_first_day=True,
)  # fmt: skip
RESEARCH_PROJECTS = LandingSource(
    "research_projects", registry.RawResearchProjectChanges, registry.RawResearchProjectChangesRejected, "changed_at",
    clamp_to_first_day=True,
)  # fmt: skip
PERSONAS = LandingSource(
    "personas", registry.RawPersonaChanges, registry.RawPersonaChangesRejected, "changed_at", clamp_to_first_day=True
)
FOCUS_GROUPS = LandingSource(
    "focus_groups", registry.RawFocusGroupChanges, registry.RawFocusGroupChangesRejected, "changed_at",
    clamp_to_first_day=True,
)  # fmt: skip
SURVEYS = LandingSource(
    "surveys", registry.RawSurveyChanges, registry.RawSurveyChangesRejected, "changed_at", clamp_to_first_day=True
)
SURVEY_QUESTIONS = LandingSource(
    "survey_questions", registry.RawSurveyQuestionChanges, registry.RawSurveyQuestionChangesRejected, "changed_at",
    clamp_to_first_day=True,
)  # fmt: skip
SURVEY_ANSWERS = LandingSource(
    "survey_answers", activity.RawSurveyAnswers, activity.RawSurveyAnswersRejected, "answered_at",
    clamp_to_first_day=True,
)  # fmt: skip
PERSONA_INTERACTIONS = LandingSource(
    "persona_interactions", activity.RawPersonaInteractions, activity.RawPersonaInteractionsRejected, "started_at"
)
DISCUSSION_EVENTS = LandingSource(
    "discussion_events", discussions.RawDiscussionEvents, discussions.RawDiscussionEventsRejected, "occurred_at"
)

SOURCES = (
    RESEARCH_USERS, RESEARCH_PROJECTS, PERSONAS, FOCUS_GROUPS, SURVEYS, SURVEY_QUESTIONS, SURVEY_ANSWERS,
    PERSONA_INTERACTIONS, DISCUSSION_EVENTS,
)  # fmt: skip
